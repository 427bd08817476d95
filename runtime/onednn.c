/* runtime/onednn.c - convolutions, matrix products and pools by oneDNN.
 *
 * One primitive an operator, made once, with its weights in the layout that it likes best. A run
 * makes handles of its own for its tensors, so that runs on several threads share nothing that
 * changes.
 */
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <qonnx/base.h>
#include "kernels/f_sum.h"
#include "kernels/f_norm.h"
#include "kernels/params.h"
#include "ir/pages.h"
#include "runtime/onednn.h"
#include "runtime/onednn_api.h"
#include "runtime/onednn_product.h"

struct OnednnOp {
    const matmul_p
        *product; /* a product by onednn_product.h, and nothing of what follows; or NULL */
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t prim;
    const ApiMemory *src, *dst, *scratch; /* belong to desc */
    dnnl_memory_t weights, bias;          /* NULL where there are none */
    bool shared;                          /* the weights belong to an OnednnWeights */
    ApiMemory *factors;                   /* of a normalization: scale and shift; or NULL */
};

/* An operator in oneDNN's terms. */
typedef struct Spec {
    ApiOp op;       /* its weights in whatever layout oneDNN likes */
    ApiMemory *raw; /* the weights as they are given; NULL where there are none */
    int32_t count;  /* factors of a normalization */
    float lo, hi;   /* clamp of the result */
} Spec;

/* One axis of a sliding window. */
typedef struct Window {
    int32_t in, out, k, stride, dilation, front;
    int32_t behind; /* padding behind the input, where that counts in a mean */
} Window;

/* ---- oneDNN's objects ------------------------------------------------------------------------ */

/* Ends the program where oneDNN refuses what it has accepted before: it is out of memory. */
static void check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success) return;
    if (status == dnnl_out_of_memory) qonnx_out_of_memory();
    qonnx_last_words();
    fprintf(stderr, "qonnx: oneDNN cannot %s (status %d)\n", what, (int)status);
    exit(1);
}

static _Thread_local volatile bool inside; /* in one of the functions of onednn.h */

bool onednn_running(void) { return inside; }

static dnnl_engine_t the_engine;

static void engine_start(void) { check(dnnl_engine_create(&the_engine, dnnl_cpu, 0), "start"); }

static dnnl_engine_t engine(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, engine_start);
    return the_engine;
}

/* A memory over `data`, or over memory of its own for DNNL_MEMORY_ALLOCATE. */
static dnnl_memory_t memory_new(const ApiMemory *md, void *data)
{
    dnnl_memory_t memory;
    check(dnnl_memory_create(&memory, md, engine(), data), "make a memory");
    return memory;
}

static dnnl_stream_t stream_new(void)
{
    dnnl_stream_t stream;
    check(dnnl_stream_create(&stream, engine(), dnnl_stream_default_flags), "make a stream");
    return stream;
}

/* A copy of `data`, laid out as `from`, in memory laid out as `to`. */
static dnnl_memory_t reordered(const ApiMemory *from, const ApiMemory *to, const float *data)
{
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t prim;
    dnnl_stream_t stream = stream_new();
    dnnl_memory_t src = memory_new(from, (void *)(uintptr_t)data);
    dnnl_memory_t dst = memory_new(to, DNNL_MEMORY_ALLOCATE);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, src}, {DNNL_ARG_TO, dst}};
    check(dnnl_reorder_primitive_desc_create(&desc, from, engine(), to, engine(), NULL), "reorder");
    check(dnnl_primitive_create(&prim, desc), "reorder");
    check(dnnl_primitive_execute(prim, stream, 2, args), "reorder");
    check(dnnl_stream_wait(stream), "reorder");
    dnnl_primitive_destroy(prim);
    dnnl_primitive_desc_destroy(desc);
    dnnl_memory_destroy(src);
    dnnl_stream_destroy(stream);
    return dst;
}

/* ---- describing operators -------------------------------------------------------------------- */

/* A float tensor, or NULL where oneDNN has no words for it. */
static ApiMemory *described(int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    ApiMemory *md;
    const dnnl_status_t status = api_memory(&md, rank, dims, tag);
    if (status == dnnl_out_of_memory) check(status, "describe a tensor");
    return status ? NULL : md;
}

/* Channels-last [n][d][h][w][c] in oneDNN's order of dims; without d where rank is 4. */
static ApiMemory *tensor_desc(int rank, int32_t n, int32_t c, int32_t d, int32_t h, int32_t w)
{
    const dnnl_dims_t flat = {n, c, h, w}, deep = {n, c, d, h, w};
    return described(rank, rank == 5 ? deep : flat, rank == 5 ? dnnl_ndhwc : dnnl_nhwc);
}

/* Weights in the layout `tag`, the same in whatever layout oneDNN likes, and the bias. */
static bool weights_desc(Spec *s, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag,
                         int32_t bias)
{
    const dnnl_dims_t count = {bias};
    s->raw = described(rank, dims, tag);
    s->op.weights = described(rank, dims, dnnl_format_tag_any);
    if (bias) s->op.bias = described(1, count, dnnl_a);
    return s->raw && s->op.weights && (!bias || s->op.bias);
}

/* Padding behind the input that the last window reaches into; negative where it does not reach
 * the input's end. */
static dnnl_dim_t reach(const Window *w)
{
    const int64_t last = (int64_t)(w->out - 1) * w->stride + (int64_t)(w->k - 1) * w->dilation;
    return last + 1 - w->in - w->front;
}

/* Whether the outputs go on to the input's end, as all of ONNX's do. oneDNN 2.6.3's pools write
 * past their output where another one would fit. */
static bool complete(const Window *w) { return reach(w) + w->stride > 0; }

/* Windows in oneDNN's terms. */
static void window_dims(const Window *w, int axes, ApiOp *op)
{
    for (int i = 0; i < axes; i++) {
        op->kernel[i] = w[i].k;
        op->strides[i] = w[i].stride;
        op->dilations[i] = w[i].dilation - 1;
        op->front[i] = w[i].front;
        op->behind[i] = reach(&w[i]);
    }
}

/* What convolutions and transposed ones share; windows are in place, of `all` three axes. */
static bool spec_window(Spec *s, const f_conv_p *p, const Window *all, bool transposed,
                        bool has_bias)
{
    const bool deep = p->id > 1 || p->od > 1 || p->kd > 1;
    const int rank = deep ? 5 : 4;
    const int32_t oc = p->oc / p->group, ic = p->ic / p->group;
    const dnnl_dims_t flat_w = {p->group, oc, ic, p->kh, p->kw};
    const dnnl_dims_t deep_w = {p->group, oc, ic, p->kd, p->kh, p->kw};
    /* Without groups the first dim and the first letter go. A transposed one's weights have
     * channels in before channels out. */
    static const dnnl_format_tag_t tags[2][2][2] = {
        {{dnnl_abcde, dnnl_abcd}, {dnnl_abcdef, dnnl_abcde}},
        {{dnnl_acbde, dnnl_bacd}, {dnnl_acbdef, dnnl_bacde}}};
    const int skip = p->group == 1;
    if ((int64_t)p->kd * p->kh * p->kw * ic > MOST_PRODUCTS) return false;
    window_dims(deep ? all : all + 1, rank - 2, &s->op);
    s->lo = p->lo;
    s->hi = p->hi;
    s->op.kind = transposed ? API_DECONV : API_CONV;
    s->op.src = tensor_desc(rank, p->n, p->ic, p->id, p->ih, p->iw);
    s->op.dst = tensor_desc(rank, p->n, p->oc, p->od, p->oh, p->ow);
    return weights_desc(s, rank + 1 - skip, (deep ? deep_w : flat_w) + skip,
                        tags[transposed][deep][skip], has_bias ? p->oc : 0) &&
           s->op.src && s->op.dst;
}

static bool spec_conv(Spec *s, const f_conv_p *p, bool has_bias)
{
    const Window all[3] = {{p->id, p->od, p->kd, p->sd, p->dd, p->pd, 0},
                           {p->ih, p->oh, p->kh, p->sh, p->dh, p->ph, 0},
                           {p->iw, p->ow, p->kw, p->sw, p->dw, p->pw, 0}};
    for (int i = 0; i < 3; i++)
        if (!complete(&all[i])) return false;
    return spec_window(s, p, all, false, has_bias);
}

/* Its windows slide over the output: those of the convolution that it is the transpose of. */
static bool spec_deconv(Spec *s, const f_conv_p *p, bool has_bias)
{
    const Window all[3] = {{p->od, p->id, p->kd, p->sd, p->dd, p->pd, 0},
                           {p->oh, p->ih, p->kh, p->sh, p->dh, p->ph, 0},
                           {p->ow, p->iw, p->kw, p->sw, p->dw, p->pw, 0}};
    if (p->od > 1) return false; /* ours are as fast over three axes */
    for (int i = 0; i < 3; i++)
        if (!complete(&all[i])) return false;
    return spec_window(s, p, all, true, has_bias);
}

static bool spec_gemm(Spec *s, const f_gemm_p *p, bool has_bias)
{
    const dnnl_dims_t src = {p->m, p->k}, weights = {p->n, p->k}, dst = {p->m, p->n};
    if (p->k > MOST_PRODUCTS) return false;
    s->lo = p->lo;
    s->hi = p->hi;
    s->op.kind = API_PRODUCT;
    s->op.src = described(2, src, dnnl_ab);
    s->op.dst = described(2, dst, dnnl_ab);
    return weights_desc(s, 2, weights, p->transb ? dnnl_ab : dnnl_ba, has_bias ? p->n : 0) &&
           s->op.src && s->op.dst;
}

/* Elements in the window of an average pool: oneDNN adds them into one float, whose error grows
 * with the count. f_avgpool adds as many so, too. */
enum { MOST_AVERAGED = F_SUM_BLOCK };

/* Whether oneDNN's pools mean the same: every window reaches the input and, where padding counts,
 * none reaches beyond the padding (oneDNN always divides by the whole window then). */
static bool pool_agrees(const Window *w, bool include_pad)
{
    const int64_t last = (int64_t)(w->out - 1) * w->stride - w->front;
    const bool all_reach = (int64_t)(w->k - 1) * w->dilation >= w->front && last < w->in;
    if (w->k > 4 * (int64_t)w->in)
        return false; /* oneDNN goes over all of the window, inside or not */
    return all_reach && complete(w) && (!include_pad || reach(w) <= w->behind);
}

static bool spec_pool(Spec *s, const f_pool_p *p, bool average)
{
    const Window all[3] = {{p->id, p->od, p->kd, p->sd, p->dd, p->pd, p->ed},
                           {p->ih, p->oh, p->kh, p->sh, p->dh, p->ph, p->eh},
                           {p->iw, p->ow, p->kw, p->sw, p->dw, p->pw, p->ew}};
    const bool deep = p->id > 1 || p->od > 1 || p->kd > 1, include_pad = average && p->include_pad;
    const int rank = deep ? 5 : 4;
    for (int i = 0; i < 3; i++)
        if (!pool_agrees(&all[i], include_pad)) return false;
    if (average && (int64_t)p->kd * p->kh * p->kw > MOST_AVERAGED) return false;
    window_dims(deep ? all : all + 1, rank - 2, &s->op);
    s->lo = -INFINITY;
    s->hi = INFINITY;
    s->op.kind = API_POOL;
    s->op.pooling = !average      ? dnnl_pooling_max
                    : include_pad ? dnnl_pooling_avg_include_padding
                                  : dnnl_pooling_avg_exclude_padding;
    s->op.src = tensor_desc(rank, p->n, p->c, p->id, p->ih, p->iw);
    s->op.dst = tensor_desc(rank, p->n, p->c, p->od, p->oh, p->ow);
    return s->op.src && s->op.dst;
}

/* Layer normalization, as far as oneDNN has it. */
static bool spec_norm(Spec *s, const f_norm_p *p, Buf *const *in)
{
    const dnnl_dims_t dims = {p->rows, p->count};
    if (p->rms || p->beside != 0.0f || p->groups != 1 || p->inner != 1) return false;
    if (p->count > MOST_PRODUCTS) return false; /* sums of one float, too */
    s->lo = -INFINITY;
    s->hi = INFINITY;
    s->op.kind = API_NORM;
    s->op.scale = in[1] != NULL;
    s->op.shift = in[2] != NULL;
    s->op.epsilon = p->epsilon;
    s->count = p->count;
    s->op.src = described(2, dims, dnnl_ab);
    s->op.dst = described(2, dims, dnnl_ab);
    return s->op.src && s->op.dst;
}

static bool spec_init(Spec *s, const Kernel *k, const void *p, Buf *const *in)
{
    const bool has_bias = k->nin > 2 && in[2];
    switch (k->onednn) {
    case KERNEL_onednn_conv: return spec_conv(s, p, has_bias);
    case KERNEL_onednn_deconv: return spec_deconv(s, p, has_bias);
    case KERNEL_onednn_gemm: return spec_gemm(s, p, has_bias);
    case KERNEL_onednn_maxpool: return spec_pool(s, p, false);
    case KERNEL_onednn_avgpool: return spec_pool(s, p, true);
    case KERNEL_onednn_norm: return spec_norm(s, p, in);
    case KERNEL_onednn_matmul:
    case KERNEL_onednn_none: break;
    }
    return false;
}

static void spec_free(Spec *s)
{
    api_free(s->op.src);
    api_free(s->op.dst);
    api_free(s->op.weights);
    api_free(s->op.bias);
    api_free(s->raw);
}

/* ---- describing primitives ------------------------------------------------------------------- */

/* The attributes of every operator: scratch memory is the caller's; float is float, whatever the
 * environment asks oneDNN for; the clamp is a post-op. */
static dnnl_primitive_attr_t attributes(const Spec *s)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    const bool relu = s->lo == 0.0f && s->hi == INFINITY;
    check(dnnl_primitive_attr_create(&attr), "make attributes");
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "set one");
    check(dnnl_primitive_attr_set_fpmath_mode(attr, dnnl_fpmath_mode_strict), "set one");
    if (s->lo == -INFINITY && s->hi == INFINITY) return attr;
    check(dnnl_post_ops_create(&ops), "make attributes");
    check(api_eltwise(ops, relu ? dnnl_eltwise_relu : dnnl_eltwise_clip, relu ? 0.0f : s->lo,
                      relu ? 0.0f : s->hi),
          "add a clamp");
    check(dnnl_primitive_attr_set_post_ops(attr, ops), "add a clamp");
    dnnl_post_ops_destroy(ops);
    return attr;
}

/* The primitive's descriptor; NULL where oneDNN has nothing faster than its reference. Its simple
 * layer normalization is made of vector code. */
static dnnl_primitive_desc_t describe(const Spec *s)
{
    dnnl_primitive_desc_t desc = NULL;
    const char *name = "ref";
    dnnl_primitive_attr_t attr = attributes(s);
    const dnnl_status_t status = api_describe(&desc, &s->op, attr, engine());
    dnnl_primitive_attr_destroy(attr);
    if (status == dnnl_out_of_memory) check(status, "describe a primitive");
    if (status) return NULL;
    check(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name), "name a primitive");
    if (!strstr(name, "ref") && (!strstr(name, "simple") || s->op.kind == API_NORM)) return desc;
    dnnl_primitive_desc_destroy(desc);
    return NULL;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* A weight in one layout. */
typedef struct Weight {
    struct Weight *next;
    const void *raw;   /* as the model has it */
    ApiMemory *given;  /* what it is there: one reader may see rows where another sees columns */
    ApiMemory *layout; /* of `memory` */
    dnnl_memory_t memory;
} Weight;

struct OnednnWeights {
    pthread_mutex_t lock; /* guards the list */
    Weight *first;
};

OnednnWeights *onednn_weights_new(void)
{
    OnednnWeights *w = xcalloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void onednn_weights_free(OnednnWeights *w)
{
    if (!w) return;
    for (Weight *k = w->first, *next; k; k = next) {
        next = k->next;
        dnnl_memory_destroy(k->memory);
        api_free(k->given);
        api_free(k->layout);
        free(k);
    }
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* The weights in layout `to`. */
static dnnl_memory_t laid_out(const Buf *b, const ApiMemory *from, const ApiMemory *to)
{
    float *copy = buf_is_aligned(b) ? NULL : memcpy(xmalloc(b->bytes), b->data, b->bytes);
    pages_give_back(b->data, b->bytes); /* or it was in memory beside the others */
    dnnl_memory_t memory = reordered(from, to, copy ? copy : b->data);
    free(copy);
    return memory;
}

/* The same, out of those that are there where it can be. */
static dnnl_memory_t weight_find(OnednnWeights *w, const Buf *b, const ApiMemory *from,
                                 const ApiMemory *to)
{
    pthread_mutex_lock(&w->lock);
    Weight *k = w->first;
    while (k && (k->raw != b->data || !dnnl_memory_desc_equal(k->given, from) ||
                 !dnnl_memory_desc_equal(k->layout, to)))
        k = k->next;
    if (!k) {
        k = xcalloc(1, sizeof *k);
        *k = (Weight){w->first, b->data, NULL, NULL, laid_out(b, from, to)};
        check(api_clone(&k->given, from), "copy a layout");
        check(api_clone(&k->layout, to), "copy a layout");
        w->first = k;
        pages_give_back(b->data, b->bytes);
    }
    pthread_mutex_unlock(&w->lock);
    return k->memory;
}

/* ---- operators ------------------------------------------------------------------------------- */

static OnednnOp *op_new(dnnl_primitive_desc_t desc, const Spec *s, const Buf *weights,
                        const float *bias, OnednnWeights *shared)
{
    OnednnOp *op = calloc(1, sizeof *op);
    if (!op) check(dnnl_out_of_memory, "make an operator");
    op->desc = desc;
    op->src = dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0);
    op->dst = dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0);
    op->scratch = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    check(dnnl_primitive_create(&op->prim, desc), "make a primitive");
    if (weights) {
        const ApiMemory *to = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
        op->shared = shared != NULL;
        op->weights =
            shared ? weight_find(shared, weights, s->raw, to) : laid_out(weights, s->raw, to);
    }
    if (s->op.bias) op->bias = reordered(s->op.bias, s->op.bias, bias);
    if (s->op.scale || s->op.shift) {
        const dnnl_dims_t count = {s->count};
        op->factors = described(1, count, dnnl_a);
    }
    return op;
}

static OnednnOp *product_new(const matmul_p *p)
{
    OnednnOp *op = onednn_product_takes(p) ? xcalloc(1, sizeof *op) : NULL;
    if (op) op->product = p;
    return op;
}

OnednnOp *onednn_op_new(const Kernel *k, const void *p, Buf *const *in, OnednnWeights *shared)
{
    Spec s;
    if (k->onednn == KERNEL_onednn_matmul) return product_new(p);
    const Buf *weights = k->pack ? in[1] : NULL, *bias = k->pack && k->nin > 2 ? in[2] : NULL;
    if ((weights && !weights->data) || (bias && !bias->data)) return NULL;
    memset(&s, 0, sizeof s);
    inside = true;
    dnnl_primitive_desc_t desc = spec_init(&s, k, p, in) ? describe(&s) : NULL;
    OnednnOp *op = desc ? op_new(desc, &s, weights, bias ? bias->data : NULL, shared) : NULL;
    spec_free(&s);
    inside = false;
    return op;
}

void onednn_op_free(OnednnOp *op)
{
    if (!op) return;
    if (op->product) {
        free(op);
        return;
    }
    if (op->weights && !op->shared) dnnl_memory_destroy(op->weights);
    if (op->bias) dnnl_memory_destroy(op->bias);
    dnnl_primitive_destroy(op->prim);
    dnnl_primitive_desc_destroy(op->desc);
    api_free(op->factors);
    free(op);
}

size_t onednn_op_scratch(const OnednnOp *op)
{
    return op->product ? 0 : dnnl_memory_desc_get_size(op->scratch);
}

static void run_primitive(const OnednnOp *op, const void *const *in, void *y, void *scratch)
{
    dnnl_stream_t stream = stream_new();
    const struct {
        int arg;
        const ApiMemory *md;
        const void *data;
    } given[] = {{DNNL_ARG_SRC, op->src, in[0]},
                 {DNNL_ARG_DST, op->dst, y},
                 {DNNL_ARG_SCRATCHPAD, op->scratch, scratch},
                 {DNNL_ARG_SCALE, op->factors, op->factors ? in[1] : NULL},
                 {DNNL_ARG_SHIFT, op->factors, op->factors ? in[2] : NULL}};
    dnnl_exec_arg_t args[7];
    int n = 0;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (i > 2 && !given[i].data) continue;
        args[n].arg = given[i].arg;
        args[n++].memory = memory_new(given[i].md, (void *)(uintptr_t)given[i].data);
    }
    const int own = n;
    if (op->weights) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, op->weights};
    if (op->bias) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, op->bias};
    check(dnnl_primitive_execute(op->prim, stream, n, args), "run a primitive");
    check(dnnl_stream_wait(stream), "run a primitive");
    for (int i = 0; i < own; i++) dnnl_memory_destroy(args[i].memory);
    dnnl_stream_destroy(stream);
}

void onednn_op_run(const OnednnOp *op, const void *const *in, void *y, void *scratch)
{
    inside = true;
    if (op->product) check(onednn_product_run(op->product, in[0], in[1], y), "multiply");
    else run_primitive(op, in, y, scratch);
    inside = false;
}

void onednn_thread_init(void) { omp_set_num_threads(1); }
