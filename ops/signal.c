/* ops/signal.c - spectra and what is made with them: DFT, STFT, HannWindow, HammingWindow,
 * BlackmanWindow, MelWeightMatrix.
 */
#include "ir/size.h"
#include "kernels/cosine_window.h"
#include "kernels/dft.h"
#include "kernels/mel_weights.h"
#include "lower/lower.h"

enum { REALS = 1u << QONNX_FLOAT | 1u << QONNX_DOUBLE };
enum { MOST_LENGTH = 1 << 24 }; /* of a transform: seven doubles each are less than 1 GiB */

/* The one integer that input i holds; -1: there is no such input, or it is not known yet, which
 * sets *open. False where it is a list. */
static bool read_integer(Ctx *cx, const Node *n, int i, int64_t *x, bool *open)
{
    int64_t list[QONNX_MAX_RANK * 2];
    int count = qonnx_node_list(n, "", i, list);
    *x = -1;
    *open |= count == -2;
    if (count < 0) return true;
    if (count != 1) return qonnx_fail(cx, n, "input %d is a list, want a number", i);
    *x = list[0];
    return true;
}

/* Elements of a transform, real and imaginary part of which are the last axis. */
static bool check_parts(Ctx *cx, const Node *n, const Shape *x)
{
    int64_t parts = x->dim[x->rank - 1];
    return parts < 0 || parts == 1 || parts == 2 ||
           qonnx_fail(cx, n, "the last axis has size %lld, want 1 (real) or 2 (complex)",
                      (long long)parts);
}

static bool check_length(Ctx *cx, const Node *n, int64_t length)
{
    return (length >= 1 && length <= MOST_LENGTH) ||
           qonnx_fail(cx, n, "a transform of length %lld, want 1 to %d", (long long)length,
                      MOST_LENGTH);
}

/* Steps of `lines` transforms of that length: a product of complex numbers takes as long as 40, an
 * element of the roots as 2000. */
static int64_t transform_work(int64_t lines, int64_t length)
{
    int64_t factors = 1, rest = length;
    for (int64_t f = 2; f * f <= rest; f++)
        for (; rest % f == 0; rest /= f) factors += f;
    if (rest > 1) factors += rest;
    return size_plus(size_times(lines, size_times(length, size_times(40, factors))),
                     size_times(length, 2000));
}

/* ---- DFT ------------------------------------------------------------------------------------- */

/* What a DFT is; -1 where it is not known yet. */
typedef struct Dft {
    int axis;
    int64_t length, count; /* of the transform, and of the axis in the output */
    bool open;             /* axis or length are not known yet */
    bool inverse, half;    /* half: one half of the spectrum, which is symmetric */
} Dft;

/* The axis: an attribute, or since operator set 20 an input. */
static bool dft_axis(Ctx *cx, const Node *n, const Shape *x, Dft *d)
{
    int64_t axis = qonnx_node_int(n, "axis", 1);
    bool given = qonnx_node_input(n, 2) != NULL;
    if (qonnx_model_opset(n->graph) >= 20) axis = -2;
    if (given && !read_integer(cx, n, 2, &axis, &d->open)) return false;
    d->axis = -1;
    if (d->open) return true;
    if (!check_axis(cx, n, axis, x->rank, &d->axis)) return false;
    return d->axis < x->rank - 1 ||
           qonnx_fail(cx, n, "axis %lld has the parts of complex numbers", (long long)axis);
}

static bool dft_read(Ctx *cx, const Node *n, Dft *d)
{
    const Shape *x = in_shape(n, 0);
    *d = (Dft){.inverse = qonnx_node_int(n, "inverse", 0) != 0,
               .half = qonnx_node_int(n, "onesided", 0) != 0,
               .length = -1,
               .count = -1};
    if (!check_rank(cx, n, 0, 2, QONNX_MAX_RANK)) return false;
    if (!check_parts(cx, n, x) || !dft_axis(cx, n, x, d)) return false;
    if (d->half && !d->inverse && x->dim[x->rank - 1] == 2)
        return qonnx_fail(cx, n, "onesided wants an input of real numbers");
    if (!read_integer(cx, n, 1, &d->length, &d->open)) return false;
    if (d->axis >= 0 && !qonnx_node_input(n, 1)) {
        int64_t size = x->dim[d->axis];
        d->open |= size < 0;
        d->length = d->half && d->inverse ? 2 * (size - 1) : size;
    }
    if (d->open) d->length = -1;
    if (d->open) return true;
    if (!check_length(cx, n, d->length)) return false;
    d->count = d->half && !d->inverse ? d->length / 2 + 1 : d->length;
    return true;
}

static bool dft_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Dft d;
    if (!x) return out_shape(cx, n, 0, in_dtype(n, 0), NULL);
    if (!dft_read(cx, n, &d)) return false;
    Shape y = d.axis < 0 ? open_shape(x) : *x;
    if (d.axis >= 0) y.dim[d.axis] = d.count, y.sym[d.axis] = NULL;
    y.dim[x->rank - 1] = d.half && d.inverse ? 1 : 2;
    y.sym[x->rank - 1] = NULL;
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool dft_takes(Why *why, const Node *n) { return takes_types(why, n, 0, REALS); }

static bool dft_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0), *y = &n->out[0]->shape;
    Dft d;
    if (!dft_read(l->cx, n, &d)) return false;
    if (d.axis < 0 || d.length < 0)
        return qonnx_fail(l->cx, n, "its axis and dft_length must be constant to run it");
    int32_t from = (int32_t)x->dim[x->rank - 1], to = (int32_t)y->dim[x->rank - 1];
    int32_t inner = (int32_t)shape_product(x, d.axis + 1, x->rank - 1);
    dft_p p = {.d0 = (int32_t)shape_product(x, 0, d.axis),
               .d1 = inner,
               .x0 = (int32_t)x->dim[d.axis] * inner * from,
               .x1 = from,
               .y0 = (int32_t)d.count * inner * to,
               .y1 = to,
               .xs = inner * from,
               .ys = inner * to,
               .given = (int32_t)x->dim[d.axis],
               .length = (int32_t)d.length,
               .count = (int32_t)d.count,
               .x_parts = from,
               .y_parts = to,
               .inverse = d.inverse,
               .mirrored = d.half && d.inverse,
               .type = (int32_t)in_dtype(n, 0)};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), NULL};
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN),
                   lower_temp(l, 7 * sizeof(double) * (size_t)d.length)};
    lower_call_n(l, n, "dft", &p, in, 2, out, 2);
    return true;
}

static int64_t dft_work(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    Ctx *quiet = ctx_quiet();
    Dft d = {.length = -1};
    bool known = x && dft_read(quiet, n, &d) && d.axis >= 0 && d.length > 0;
    qonnx_ctx_free(quiet);
    if (!known) return -1;
    Shape lines = *x;
    lines.dim[d.axis] = lines.dim[x->rank - 1] = 1;
    int64_t count = shape_open_elements(&lines);
    return count < 0 ? -1 : transform_work(count, d.length);
}

/* ---- STFT ------------------------------------------------------------------------------------ */

enum { STFT_STEP = 1, STFT_WINDOW, STFT_LENGTH };

/* Sizes of an STFT; -1 where they are not known yet. */
typedef struct Stft {
    int64_t step, length;  /* from frame to frame, and of a frame */
    int64_t frames, count; /* how many there are, of so many elements of a spectrum */
} Stft;

static bool stft_length(Ctx *cx, const Node *n, Stft *s, bool *open)
{
    const Shape *window = in_shape(n, STFT_WINDOW);
    if (!check_rank(cx, n, STFT_WINDOW, 1, 1) ||
        !read_integer(cx, n, STFT_LENGTH, &s->length, open))
        return false;
    bool given = qonnx_node_input(n, STFT_LENGTH) != NULL;
    if (!given && !qonnx_node_input(n, STFT_WINDOW))
        return qonnx_fail(cx, n, "neither a window nor a frame_length");
    if (!given && window) s->length = window->dim[0];
    if (given ? *open : s->length < 0) return true;
    return check_length(cx, n, s->length) && check_dim(cx, n, STFT_WINDOW, 0, s->length);
}

static bool stft_read(Ctx *cx, const Node *n, Stft *s)
{
    const Shape *x = in_shape(n, 0);
    bool half = qonnx_node_int(n, "onesided", 1) != 0, no_step = false, no_length = false;
    *s = (Stft){-1, -1, -1, -1};
    if (!check_rank(cx, n, 0, 2, 3) || (x && x->rank == 3 && !check_parts(cx, n, x))) return false;
    if (half && x && x->rank == 3 && x->dim[2] == 2)
        return qonnx_fail(cx, n, "onesided wants a signal of real numbers");
    if (!read_integer(cx, n, STFT_STEP, &s->step, &no_step) || !stft_length(cx, n, s, &no_length))
        return false;
    if (!no_step && s->step < 1)
        return qonnx_fail(cx, n, "frame_step is %lld, want 1 or more", (long long)s->step);
    if (s->length >= 0) s->count = half ? s->length / 2 + 1 : s->length;
    if (!x || x->dim[1] < 0 || s->length < 0 || no_step) return true;
    if (x->dim[1] < s->length)
        return qonnx_fail(cx, n, "a frame of %lld, of a signal of %lld", (long long)s->length,
                          (long long)x->dim[1]);
    s->frames = (x->dim[1] - s->length) / s->step + 1;
    return true;
}

static bool stft_shape(Ctx *cx, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Stft s;
    if (!stft_read(cx, n, &s)) return false;
    Shape y = {.rank = 4, .dim = {x ? x->dim[0] : -1, s.frames, s.count, 2}};
    if (x) y.sym[0] = x->sym[0];
    return out_shape(cx, n, 0, in_dtype(n, 0), &y);
}

static bool stft_takes(Why *why, const Node *n)
{
    return takes_types(why, n, 0, REALS) &&
           (!in_dtype(n, 0) || takes_type(why, n, STFT_WINDOW, in_dtype(n, 0)));
}

static bool stft_lower(Lower *l, Node *n)
{
    const Shape *x = in_shape(n, 0);
    Stft s;
    if (!stft_read(l->cx, n, &s)) return false;
    if (s.frames < 0)
        return qonnx_fail(l->cx, n, "its frame_step and frame_length must be constant to run it");
    int32_t parts = x->rank == 3 ? (int32_t)x->dim[2] : 1, signal = (int32_t)x->dim[1];
    int32_t step = s.step > signal ? signal : (int32_t)s.step; /* then there is one frame */
    dft_p p = {.d0 = (int32_t)x->dim[0],
               .d1 = (int32_t)s.frames,
               .x0 = signal * parts,
               .x1 = step * parts,
               .y0 = (int32_t)(s.frames * s.count * 2),
               .y1 = (int32_t)s.count * 2,
               .xs = parts,
               .ys = 2,
               .given = (int32_t)s.length,
               .length = (int32_t)s.length,
               .count = (int32_t)s.count,
               .x_parts = parts,
               .y_parts = 2,
               .type = (int32_t)in_dtype(n, 0)};
    Buf *in[2] = {lower_in(l, n, 0, PLAIN), lower_in(l, n, STFT_WINDOW, PLAIN)};
    Buf *out[2] = {lower_out(l, n->out[0], PLAIN),
                   lower_temp(l, 7 * sizeof(double) * (size_t)s.length)};
    lower_call_n(l, n, "dft", &p, in, 2, out, 2);
    return true;
}

static int64_t stft_work(const Node *n)
{
    const Shape *x = in_shape(n, 0);
    Ctx *quiet = ctx_quiet();
    Stft s = {.frames = -1};
    bool known = x && stft_read(quiet, n, &s) && s.frames >= 0;
    qonnx_ctx_free(quiet);
    if (!known) return -1;
    return transform_work(size_times(x->dim[0] < 0 ? 1 : x->dim[0], s.frames), s.length);
}

/* ---- windows --------------------------------------------------------------------------------- */

static DType given_type(const Node *n)
{
    return (DType)qonnx_node_int(n, "output_datatype", QONNX_FLOAT);
}

static bool window_shape(Ctx *cx, Node *n)
{
    int64_t count;
    bool open = false;
    if (!read_integer(cx, n, 0, &count, &open)) return false;
    if (!open && count < 0)
        return qonnx_fail(cx, n, "size is %lld, want 0 or more", (long long)count);
    Shape y = shape_make(1, &count);
    return out_shape(cx, n, 0, given_type(n), &y);
}

static bool window_takes(Why *why, const Node *n)
{
    DType t = in_dtype(n, 0);
    if (t && t != QONNX_INT32 && !takes_type(why, n, 0, QONNX_INT64)) return false;
    return has_type(NUMBERS, given_type(n)) ||
           why_not(why, "output_datatype %s", qonnx_dtype_name(given_type(n)));
}

static bool window_lower(Lower *l, Node *n)
{
    int64_t count = shape_elements(&n->out[0]->shape), given;
    bool open = false;
    DType t = given_type(n), as = t == QONNX_DOUBLE ? t : QONNX_FLOAT;
    if (!read_integer(l->cx, n, 0, &given, &open)) return false;
    if (open) return qonnx_fail(l->cx, n, "its size must be constant to run it");
    cosine_window_p p = {(int32_t)count,
                         qonnx_node_is(n, "HannWindow")      ? WINDOW_HANN
                         : qonnx_node_is(n, "HammingWindow") ? WINDOW_HAMMING
                                                             : WINDOW_BLACKMAN,
                         qonnx_node_int(n, "periodic", 1) != 0, (int32_t)as};
    Buf *y = lower_temp(l, (size_t)count * (size_t)dtype_size(as));
    lower_call(l, n, "cosine_window", &p, NULL, 0, y);
    lower_view(l, n->out[0], lower_cast(l, n, as, t, count, y), PLAIN);
    return true;
}

static int64_t window_work(const Node *n)
{
    return count_work(n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1, 4096);
}

/* ---- MelWeightMatrix ------------------------------------------------------------------------- */

enum { MEL_BANDS, MEL_LENGTH, MEL_RATE, MEL_LOWER, MEL_UPPER };

static bool mel_read(Ctx *cx, const Node *n, int64_t *bands, int64_t *length)
{
    bool open_bands = false, open_length = false;
    if (!read_integer(cx, n, MEL_BANDS, bands, &open_bands) ||
        !read_integer(cx, n, MEL_LENGTH, length, &open_length))
        return false;
    for (int i = MEL_RATE; i <= MEL_UPPER; i++) {
        const Shape *s = in_shape(n, i);
        if (s && shape_known(s) && shape_elements(s) != 1)
            return qonnx_fail(cx, n, "input %d is a list, want a number", i);
    }
    if (!open_bands && (*bands < 1 || *bands > INT32_MAX / 2))
        return qonnx_fail(cx, n, "num_mel_bins is %lld, want 1 or more", (long long)*bands);
    return open_length || check_length(cx, n, *length);
}

static bool mel_shape(Ctx *cx, Node *n)
{
    int64_t bands, length;
    if (!mel_read(cx, n, &bands, &length)) return false;
    Shape y = shape_make(2, (int64_t[]){length < 0 ? -1 : length / 2 + 1, bands});
    return out_shape(cx, n, 0, given_type(n), &y);
}

static bool mel_takes(Why *why, const Node *n)
{
    for (int i = 0; i < 5; i++)
        if (!takes_types(why, n, i, i < MEL_LOWER ? INTEGERS : FLOATS)) return false;
    return has_type(NUMBERS, given_type(n)) ||
           why_not(why, "output_datatype %s", qonnx_dtype_name(given_type(n)));
}

static bool mel_lower(Lower *l, Node *n)
{
    int64_t bands, length, count = shape_elements(&n->out[0]->shape);
    DType t = given_type(n), as = t == QONNX_DOUBLE ? t : QONNX_FLOAT;
    if (!mel_read(l->cx, n, &bands, &length)) return false;
    if (bands < 0 || length < 0)
        return qonnx_fail(l->cx, n, "num_mel_bins and dft_length must be constant to run it");
    mel_weights_p p = {(int32_t)(length / 2 + 1),        (int32_t)bands,
                       (int32_t)length,                  (int32_t)in_dtype(n, MEL_RATE),
                       (int32_t)in_dtype(n, MEL_LOWER), (int32_t)in_dtype(n, MEL_UPPER),
                       (int32_t)as};
    Buf *in[3] = {lower_in(l, n, MEL_RATE, PLAIN), lower_in(l, n, MEL_LOWER, PLAIN),
                  lower_in(l, n, MEL_UPPER, PLAIN)};
    Buf *y = lower_temp(l, (size_t)count * (size_t)dtype_size(as));
    lower_call(l, n, "mel_weights", &p, in, 3, y);
    lower_view(l, n->out[0], lower_cast(l, n, as, t, count, y), PLAIN);
    return true;
}

/* Three edges a band, and each weight at most twice. */
static int64_t mel_work(const Node *n)
{
    int64_t count = n->out[0] ? shape_open_elements(&n->out[0]->shape) : -1;
    return count < 0 ? -1 : size_plus(size_times(count, 256), 1 << 20);
}

#define WINDOW_OP(op)                                                                              \
    {op,                                                                                           \
     1,                                                                                            \
     1,                                                                                            \
     window_shape,                                                                                 \
     RULE_FLOAT,                                                                                   \
     NULL,                                                                                         \
     window_lower,                                                                                 \
     .lists = 1,                                                                                   \
     .takes = window_takes,                                                                        \
     .work = window_work}

const Op ops_signal[] = {
    /* name  inputs  shape  rule  refine  lower */
    {"DFT", 1, 3, dft_shape, RULE_FLOAT, NULL, dft_lower, .lists = 6, .takes = dft_takes,
     .work = dft_work},
    {"STFT", 2, 4, stft_shape, RULE_FLOAT, NULL, stft_lower,
     .lists = 1 << STFT_STEP | 1 << STFT_LENGTH, .takes = stft_takes, .work = stft_work},
    WINDOW_OP("HannWindow"),
    WINDOW_OP("HammingWindow"),
    WINDOW_OP("BlackmanWindow"),
    {"MelWeightMatrix", 5, 5, mel_shape, RULE_FLOAT, NULL, mel_lower, .lists = 3,
     .takes = mel_takes, .work = mel_work},
    {0},
};
