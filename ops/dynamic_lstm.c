/* ops/dynamic_lstm.c - com.microsoft's DynamicQuantizeLSTM: 8-bit weights, inputs quantized by the
 * range of all steps and states by that of each.
 */
#include "kernels/quantize.h"
#include "ops/integers.h"
#include "ops/recurrent.h"

enum { W_SCALE = 8, W_ZERO, R_SCALE, R_ZERO };

/* Whether operand i has one number a direction, or one a column. */
static bool has_numbers(Ctx *cx, const Node *n, int i, const char *what, const Sizes *s)
{
    const Shape *v = in_shape(n, i);
    int64_t count = v ? shape_elements(v) : -1, columns = s->hidden * s->gates;
    if (count < 0 || count == s->directions || s->hidden < 0) return true;
    return count == columns * s->directions ||
           qonnx_fail(cx, n, "%s holds %lld numbers, want %d or %lld", what, (long long)count,
                      s->directions, (long long)(columns * s->directions));
}

static bool dynamic_lstm_shape(Ctx *cx, Node *n)
{
    Sizes s;
    if (!qonnx_node_input(n, W_SCALE) || !qonnx_node_input(n, R_SCALE))
        return qonnx_fail(cx, n, "W_scale or R_scale is left out");
    for (int i = 0; i < 2; i++) {
        DType w = in_dtype(n, 1 + i), z = in_dtype(n, W_ZERO + 2 * i);
        if (w && z && w != z)
            return qonnx_fail(cx, n, "input %d is %s, its zero point %s", 1 + i,
                              qonnx_dtype_name(w), qonnx_dtype_name(z));
    }
    return recurrent_sizes(cx, n, &s) && has_numbers(cx, n, W_SCALE, "W_scale", &s) &&
           has_numbers(cx, n, W_ZERO, "W_zero_point", &s) &&
           has_numbers(cx, n, R_SCALE, "R_scale", &s) &&
           has_numbers(cx, n, R_ZERO, "R_zero_point", &s) && recurrent_shape(cx, n);
}

static bool dynamic_lstm_takes(Why *why, const Node *n)
{
    enum { BYTES = 1u << QONNX_UINT8 | 1u << QONNX_INT8 };
    for (int i = 0; i < n->nin; i++) {
        bool bytes = i == 1 || i == 2 || i == W_ZERO || i == R_ZERO;
        if (bytes ? !takes_types(why, n, i, BYTES)
                  : !takes_type(why, n, i, i == 4 ? QONNX_INT32 : QONNX_FLOAT))
            return false;
    }
    return true;
}

/* Whether operand i has one number a column. */
static bool has_columns(const Node *n, int i, const Sizes *s)
{
    const Shape *v = in_shape(n, i);
    return v && shape_elements(v) != s->directions;
}

/* The products of all inputs, [direction][step][row][gates]. */
static Buf *input_products(Lower *l, Node *n, const Sizes *s, const f_recurrent_p *p)
{
    int32_t columns = p->gates * p->hidden, rows = p->steps * p->batch, d = p->directions;
    bool scales = has_columns(n, W_SCALE, s), zeros = has_columns(n, W_ZERO, s);
    Left x = lower_dynamic(l, n, lower_in(l, n, 0, PLAIN), lower_in(l, n, 4, PLAIN),
                           (q_range_p){p->steps, p->batch, (int32_t)s->input});
    q_matmul_p m = {.batch = d,
                    .m = rows,
                    .n = columns,
                    .k = (int32_t)s->input,
                    .bstep = 1,
                    .b_signed = in_dtype(n, 1) == QONNX_INT8,
                    .bzcolumn = zeros,
                    .bzstep = zeros ? columns : 1};
    q_to_float_p f = {d, rows, columns, scales, scales ? columns : 1, 1};
    size_t bytes = (size_t)d * (size_t)rows * (size_t)columns * 4;
    Buf *sums = lower_temp(l, bytes), *y = lower_temp(l, bytes);
    lower_products(l, n, &m, n->in[1]->data != NULL,
                   (Buf *[]){x.x, lower_in(l, n, 1, PLAIN), x.zero, lower_in(l, n, W_ZERO, PLAIN)},
                   sums);
    lower_call(l, n, "q_to_float", &f,
               (Buf *[]){sums, NULL, x.scale, lower_in(l, n, W_SCALE, PLAIN), NULL}, 5, y);
    return y;
}

static bool dynamic_lstm_lower(Lower *l, Node *n)
{
    Sizes s;
    f_recurrent_p p;
    if (!recurrent_sizes(l->cx, n, &s) || !recurrent_params(l, n, &s, &p)) return false;
    size_t rows = (size_t)p.batch * (size_t)p.hidden;
    Buf *x = input_products(l, n, &s, &p), *out[6];
    p.xrow = p.gates * p.hidden;
    p.xstep = p.batch * p.xrow;
    p.xdir = p.steps * p.xstep;
    p.r_signed = in_dtype(n, 2) == QONNX_INT8;
    p.scale = has_columns(n, R_SCALE, &s);
    p.zero = has_columns(n, R_ZERO, &s);
    static const int order[] = {2, R_SCALE, R_ZERO, 3, 7, 4, 5, 6};
    Buf *in[9] = {x};
    for (int i = 0; i < 8; i++) in[1 + i] = lower_in(l, n, order[i], PLAIN);
    recurrent_outputs(l, n, &p, out);
    out[4] = lower_temp(l, rows);
    out[5] = lower_temp(l, rows * (size_t)p.gates * sizeof(int32_t));
    lower_call_n(l, n, "q_lstm", &p, in, 9, out, 6);
    return true;
}

const Op ops_dynamic_lstm[] = {
    {"DynamicQuantizeLSTM", 3, 12, dynamic_lstm_shape, RULE_FLOAT, NULL, dynamic_lstm_lower,
     recurrent_macs, .takes = dynamic_lstm_takes, .work = recurrent_work,
     .domain = "com.microsoft"},
    {0},
};
