/* ops/product.h - batched matrix products of any strides, which operators are made of. */
#ifndef OPS_PRODUCT_H
#define OPS_PRODUCT_H

#include "lower/lower.h"

/* y[batch...][m][n] = alpha * sum over k of a[batch...][m][k] * b[batch...][k][n], y as it is
 * written here, a and b of any strides. */
typedef struct Product {
    DType type;
    int axes;                                     /* of the batch */
    int64_t dims[QONNX_MAX_RANK];                 /* their sizes */
    int64_t a[QONNX_MAX_RANK], b[QONNX_MAX_RANK]; /* strides of a and b; 0: repeated */
    int64_t m, n, k;
    int64_t am, ak, bk, bn; /* strides of the rows and columns of a matrix */
    float alpha;            /* of floats, whatever their size */
} Product;

/* Emits the calls. */
void lower_product(Lower *l, const Node *n, const Product *p, Buf *a, Buf *b, Buf *y);

#endif
