/* qonnx/qonnx.h - the whole public API. */
#ifndef QONNX_QONNX_H
#define QONNX_QONNX_H

#include <qonnx/base.h>
#include <qonnx/graph.h>
#include <qonnx/quant.h>
#include <qonnx/match.h>
#include <qonnx/stats.h>
#include <qonnx/lint.h>
#include <qonnx/pass.h>
#include <qonnx/run.h>

#endif
