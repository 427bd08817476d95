/* runtime/onednn_product.h - batched matrix products of floats (kernels/f_matmul.h) by oneDNN's
 * sgemm, a call for each pair of matrices: so operands of any batch do, without copies.
 */
#ifndef RUNTIME_ONEDNN_PRODUCT_H
#define RUNTIME_ONEDNN_PRODUCT_H

#include <stdbool.h>
#include <oneapi/dnnl/dnnl.h>
#include "kernels/matmul_walk.h"

/* Products that oneDNN adds into one float, which loses digits where they are more than any usual
 * kernel has (3 x 3 x 1,024 are 9,216). */
enum { MOST_PRODUCTS = 1 << 14 };

/* Whether it takes such a product, and is faster than f_matmul. */
bool onednn_product_takes(const matmul_p *p);
/* y = alpha * a * b. [any thread] */
dnnl_status_t onednn_product_run(const matmul_p *p, const float *a, const float *b, float *y);

#endif
