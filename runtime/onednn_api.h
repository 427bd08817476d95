/* runtime/onednn_api.h - one form of those parts of oneDNN's C API that differ between versions 2
 * and
 * 3. Version 2 has structs for layouts of memory and for operators, and primitives are described by
 * those; version 3 hides layouts behind pointers and describes a primitive in one call.
 */
#ifndef RUNTIME_ONEDNN_API_H
#define RUNTIME_ONEDNN_API_H

#include <stdlib.h>
#include <oneapi/dnnl/dnnl.h>

/* Memory as oneDNN describes it: shape, type and layout. */
#if DNNL_VERSION_MAJOR == 3
typedef struct dnnl_memory_desc ApiMemory;
#elif DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR >= 6
typedef dnnl_memory_desc_t ApiMemory;
#else
#error "oneDNN 2.6 to 3.x is wanted; meson setup -Donednn=disabled does without"
#endif

/* dnnl_normalization_flags_t of a layer normalization's factors. */
static inline unsigned api_factors(unsigned scale, unsigned shift)
{
    return (scale ? dnnl_use_scale : 0u) | (shift ? dnnl_use_shift : 0u);
}

/* What a primitive is made of. The descriptions are the caller's: api_memory(), api_free(). */
typedef struct ApiOp {
    enum { API_CONV, API_DECONV, API_PRODUCT, API_POOL, API_NORM } kind;
    dnnl_alg_kind_t pooling;               /* of a pool */
    unsigned scale, shift;                 /* of a layer normalization: 1 where it has them ... */
    float epsilon;                         /* ... and what is added to the variance */
    ApiMemory *src, *dst, *weights, *bias; /* NULL where there are none */
    dnnl_dims_t strides, dilations;        /* of windows; a dilation of 0 is none */
    dnnl_dims_t kernel;                    /* size of a pool's window */
    dnnl_dims_t front, behind;             /* padding */
} ApiOp;

#if DNNL_VERSION_MAJOR == 3

/* *md = the description of a float tensor; to be freed with api_free(). */
static inline dnnl_status_t api_memory(ApiMemory **md, int rank, const dnnl_dims_t dims,
                                       dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(md, rank, dims, dnnl_f32, tag);
}

static inline dnnl_status_t api_clone(ApiMemory **md, const ApiMemory *of)
{
    return dnnl_memory_desc_clone(md, of);
}

static inline void api_free(ApiMemory *md)
{
    if (md) dnnl_memory_desc_destroy(md);
}

/* The last step: `kind` of the result. */
static inline dnnl_status_t api_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha,
                                        float beta)
{
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, beta);
}

/* *desc = the description of a primitive that does `op`. */
static inline dnnl_status_t api_describe(dnnl_primitive_desc_t *desc, const ApiOp *op,
                                         const_dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    switch (op->kind) {
    case API_CONV:
        return dnnl_convolution_forward_primitive_desc_create(
            desc, engine, dnnl_forward_inference, dnnl_convolution_direct, op->src, op->weights,
            op->bias, op->dst, op->strides, op->dilations, op->front, op->behind, attr);
    case API_DECONV:
        return dnnl_deconvolution_forward_primitive_desc_create(
            desc, engine, dnnl_forward_inference, dnnl_deconvolution_direct, op->src, op->weights,
            op->bias, op->dst, op->strides, op->dilations, op->front, op->behind, attr);
    case API_PRODUCT:
        return dnnl_inner_product_forward_primitive_desc_create(
            desc, engine, dnnl_forward_inference, op->src, op->weights, op->bias, op->dst, attr);
    case API_NORM:
        return dnnl_layer_normalization_forward_primitive_desc_create(
            desc, engine, dnnl_forward_inference, op->src, op->dst, NULL, op->epsilon,
            api_factors(op->scale, op->shift), attr);
    case API_POOL: break;
    }
    return dnnl_pooling_forward_primitive_desc_create(
        desc, engine, dnnl_forward_inference, op->pooling, op->src, op->dst, op->strides,
        op->kernel, op->dilations, op->front, op->behind, attr);
}

#else

static inline dnnl_status_t api_memory(ApiMemory **md, int rank, const dnnl_dims_t dims,
                                       dnnl_format_tag_t tag)
{
    *md = malloc(sizeof **md);
    if (!*md) return dnnl_out_of_memory;
    const dnnl_status_t status = dnnl_memory_desc_init_by_tag(*md, rank, dims, dnnl_f32, tag);
    if (status) free(*md);
    return status;
}

static inline dnnl_status_t api_clone(ApiMemory **md, const ApiMemory *of)
{
    *md = malloc(sizeof **md);
    if (!*md) return dnnl_out_of_memory;
    **md = *of;
    return dnnl_success;
}

static inline void api_free(ApiMemory *md) { free(md); }

static inline dnnl_status_t api_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha,
                                        float beta)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, kind, alpha, beta);
}

static inline dnnl_status_t api_describe(dnnl_primitive_desc_t *desc, const ApiOp *op,
                                         const_dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    union {
        dnnl_convolution_desc_t conv;
        dnnl_deconvolution_desc_t deconv;
        dnnl_inner_product_desc_t product;
        dnnl_pooling_v2_desc_t pool;
        dnnl_layer_normalization_desc_t norm;
    } of;
    dnnl_status_t status = dnnl_invalid_arguments;
    switch (op->kind) {
    case API_CONV:
        status = dnnl_dilated_convolution_forward_desc_init(
            &of.conv, dnnl_forward_inference, dnnl_convolution_direct, op->src, op->weights,
            op->bias, op->dst, op->strides, op->dilations, op->front, op->behind);
        break;
    case API_DECONV:
        status = dnnl_dilated_deconvolution_forward_desc_init(
            &of.deconv, dnnl_forward_inference, dnnl_deconvolution_direct, op->src, op->weights,
            op->bias, op->dst, op->strides, op->dilations, op->front, op->behind);
        break;
    case API_PRODUCT:
        status = dnnl_inner_product_forward_desc_init(&of.product, dnnl_forward_inference, op->src,
                                                      op->weights, op->bias, op->dst);
        break;
    case API_NORM:
        status = dnnl_layer_normalization_forward_desc_init(&of.norm, dnnl_forward_inference,
                                                            op->src, NULL, op->epsilon,
                                                            api_factors(op->scale, op->shift));
        break;
    case API_POOL:
        status = dnnl_pooling_v2_forward_desc_init(&of.pool, dnnl_forward_inference, op->pooling,
                                                   op->src, op->dst, op->strides, op->kernel,
                                                   op->dilations, op->front, op->behind);
        break;
    }
    return status ? status : dnnl_primitive_desc_create(desc, &of, attr, engine, NULL);
}

#endif

#endif
