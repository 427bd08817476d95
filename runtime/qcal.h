/* runtime/qcal.h - the form of calibration files, which qcal_write.c writes and qcal.c reads. */
#ifndef RUNTIME_QCAL_H
#define RUNTIME_QCAL_H

#include "qcal.pb-c.h"
#include "runtime/count.h"
#include "runtime/stats.h"

typedef Qonnx__Qcal__File PbFile;
typedef Qonnx__Qcal__Calibration PbCalibration;
typedef Qonnx__Qcal__Activation PbActivation;
typedef Qonnx__Qcal__Channels PbChannels;
typedef Qonnx__Qcal__Part PbPart;
typedef Qonnx__Qcal__Coverage PbCoverage;
typedef Qonnx__Qcal__Checkpoint PbCheckpoint;
typedef Qonnx__Qcal__Lost PbLost;

#define QCAL_KIND "qonnx calibration"

enum { QCAL_VERSION = 1, QCAL_HASH = 16 };

/* Keys in ascending order of their values: negative ones run backwards. */
static inline uint32_t rank_of_key(uint32_t key)
{
    const uint32_t half = COUNT_KEYS / 2;
    return key < half ? half + key : COUNT_KEYS - 1 - key;
}

static inline uint32_t key_of_rank(uint32_t rank)
{
    const uint32_t half = COUNT_KEYS / 2;
    return rank >= half ? rank - half : COUNT_KEYS - 1 - rank;
}

#endif
