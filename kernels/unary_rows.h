/* kernels/unary_rows.h - the elementwise operators of one variable: one row each, from which the
 * cases of the kernels, ONNX's operators (ops/unary.c) and their forms on integers are made.
 */
#ifndef KERNELS_UNARY_ROWS_H
#define KERNELS_UNARY_ROWS_H

/* X(code, ONNX's operator, rule, attribute, its default, attribute, its default, expression):
 * the expression is of x and the two attributes, alpha and beta; FN(f) is a function of f_math.h or
 * d_trig.h, FL(c) a constant that is no integer: both of the type that is worked in. The rule is
 * how it is quantized (ops/unary.c). */
/* clang-format off */
#define UNARY_ROWS(X)                                                                              \
    X(F_LEAKY_RELU, "LeakyRelu", OWN, "alpha", 0.01f, "", 0, FN(select)(x < 0, alpha * x, x))      \
    X(F_SIGMOID, "Sigmoid", PROBABILITY, "", 0, "", 0, FN(sigmoid)(x))                             \
    X(F_TANH, "Tanh", FLOAT, "", 0, "", 0, FN(tanh)(x))                                            \
    X(F_HARD_SIGMOID, "HardSigmoid", FLOAT, "alpha", 0.2f, "beta", 0.5f,                           \
      FN(clamp)(alpha * x + beta, 0, 1))                                                           \
    X(F_HARD_SWISH, "HardSwish", FLOAT, "", 0, "", 0, x * FN(unit)(x * (1 / FL(6.0)) + FL(0.5)))   \
    X(F_ELU, "Elu", FLOAT, "alpha", 1, "", 0, FN(select)(x < 0, alpha * FN(expm1)(x), x))          \
    X(F_SOFTPLUS, "Softplus", FLOAT, "", 0, "", 0, FN(softplus)(x))                                \
    X(F_EXP, "Exp", FLOAT, "", 0, "", 0, FN(exp)(x))                                               \
    X(F_LOG, "Log", FLOAT, "", 0, "", 0, FN(log)(x))                                               \
    X(F_SQRT, "Sqrt", FLOAT, "", 0, "", 0, FN(sqrt)(x))                                            \
    X(F_ABS, "Abs", FLOAT, "", 0, "", 0, FN(abs)(x))                                               \
    X(F_NEG, "Neg", FLOAT, "", 0, "", 0, -x)                                                       \
    X(F_RECIPROCAL, "Reciprocal", FLOAT, "", 0, "", 0, 1 / x)                                      \
    X(F_ERF, "Erf", FLOAT, "", 0, "", 0, FN(erf)(x))                                               \
    X(F_FLOOR, "Floor", FLOAT, "", 0, "", 0, FN(floor)(x))                                         \
    X(F_CEIL, "Ceil", FLOAT, "", 0, "", 0, FN(ceil)(x))                                            \
    X(F_ROUND, "Round", FLOAT, "", 0, "", 0, FN(round)(x))                                         \
    X(F_GELU, "Gelu", FLOAT, "", 0, "", 0,                                                         \
      FL(0.5) * x * (1 + FN(erf)(x * FL(0.7071067811865476))))                                     \
    X(F_SIN, "Sin", FLOAT, "", 0, "", 0, FN(sin)(x))                                               \
    X(F_COS, "Cos", FLOAT, "", 0, "", 0, FN(cos)(x))                                               \
    X(F_TAN, "Tan", FLOAT, "", 0, "", 0, FN(tan)(x))                                               \
    X(F_ASIN, "Asin", FLOAT, "", 0, "", 0, FN(asin)(x))                                            \
    X(F_ACOS, "Acos", FLOAT, "", 0, "", 0, FN(acos)(x))                                            \
    X(F_ATAN, "Atan", FLOAT, "", 0, "", 0, FN(atan)(x))                                            \
    X(F_SINH, "Sinh", FLOAT, "", 0, "", 0, FN(sinh)(x))                                            \
    X(F_COSH, "Cosh", FLOAT, "", 0, "", 0, FN(cosh)(x))                                            \
    X(F_ASINH, "Asinh", FLOAT, "", 0, "", 0, FN(asinh)(x))                                         \
    X(F_ACOSH, "Acosh", FLOAT, "", 0, "", 0, FN(acosh)(x))                                         \
    X(F_ATANH, "Atanh", FLOAT, "", 0, "", 0, FN(atanh)(x))                                         \
    X(F_SIGN, "Sign", FLOAT, "", 0, "", 0, FN(select)(x < 0, -1, FN(select)(x > 0, 1, x)))         \
    X(F_SOFTSIGN, "Softsign", FLOAT, "", 0, "", 0, x / (1 + FN(abs)(x)))                           \
    X(F_THRESHOLDED_RELU, "ThresholdedRelu", FLOAT, "alpha", 1, "", 0,                           \
      FN(select)(x > alpha, x, 0))                                                                 \
    X(F_SELU, "Selu", FLOAT, "alpha", 1.67326319f, "gamma", 1.05070102f,                           \
      beta * FN(select)(x < 0, alpha * FN(expm1)(x), x))                                           \
    X(F_CELU, "Celu", FLOAT, "alpha", 1, "", 0,                                                    \
      FN(select)(x < 0, alpha * FN(expm1)(x / alpha), x))                                          \
    X(F_MISH, "Mish", FLOAT, "", 0, "", 0, x * FN(tanh)(FN(softplus)(x)))                          \
    X(F_SWISH, "Swish", FLOAT, "alpha", 1, "", 0, x * FN(sigmoid)(alpha * x))                      \
    X(F_SHRINK, "Shrink", FLOAT, "lambd", 0.5f, "bias", 0,                                         \
      FN(select)(x < -alpha, x + beta, FN(select)(x > alpha, x - beta, 0)))
/* Forms of those operators that attributes choose (ops/unary.c). */
#define UNARY_FORMS(X)                                                                             \
    X(F_GELU_TANH, "Gelu", FLOAT, "", 0, "", 0,                                                    \
      FL(0.5) * x *                                                                                \
          (1 + FN(tanh)(FL(0.7978845608028654) * (x + FL(0.044715) * x * x * x))))
/* clang-format on */

#define UNARY_CODE(code, ...) code,
enum {
    F_CLIP, /* clamp only: Relu, Clip, Identity */
    UNARY_ROWS(UNARY_CODE) UNARY_FORMS(UNARY_CODE) F_UNARY_CODES
};
#undef UNARY_CODE

#endif
