/* qonnx/quant.h - quantization: the arithmetic of scales, the operators' rules, target profiles.
 *
 * Formulas are ONNX's (QuantizeLinear: saturate(round_half_even(x / scale) + zero_point)) and,
 * where ONNX leaves a choice, ONNX Runtime's quantizer's, so that equal ranges give equal
 * parameters.
 */
#ifndef QONNX_QUANT_H
#define QONNX_QUANT_H

#include <qonnx/graph.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How the integers of a tensor are laid over the reals. */
typedef struct qonnx_grid {
    qonnx_dtype dtype; /* QONNX_UINT8, QONNX_INT8, ... */
    int qmin, qmax;    /* the integers used: 0..255, -128..127, -127..127, ... */
    bool symmetric;    /* the zero point is the middle and the range is widened to +-absmax */
    bool pow2;         /* the scale is a power of two: the next one above */
} qonnx_grid;

/** Scale and zero point for the range [lo, hi], which is first widened to hold 0. Computed in
 *  double, zero point rounded half to even, the scale last to float. A range too small for a float
 *  scale gives scale 1, zero point of zero. [any thread] */
QONNX_API void qonnx_grid_params(const qonnx_grid *grid, double lo, double hi, float *scale,
                                 int *zero_point);

/** x[0..n) to integers of the grid's dtype: saturate(rint(x / scale) + zero_point). [any thread] */
QONNX_API void qonnx_grid_quantize(const qonnx_grid *grid, const float *x, int64_t n, float scale,
                                   int zero_point, void *out);

/** The grid of a type of 8 or 16 bits: all its integers, but for the lowest where it is symmetric
 *  and signed. `reduced`: half of them, as many as ONNX Runtime's reduce_range leaves. [any thread]
 */
QONNX_API qonnx_grid qonnx_grid_of(qonnx_dtype dtype, bool symmetric, bool reduced);

/* ---- what an operator's quantization means --------------------------------------------------- */

typedef enum qonnx_rule_kind {
    QONNX_RULE_FLOAT, /* stays in float */
    QONNX_RULE_OWN,   /* the output has a range of its own */
    QONNX_RULE_SAME,  /* data movement: in integers, the output has the first input's parameters */
    QONNX_RULE_UNIFY, /* Concat: in integers, the output's range holds all inputs', which share it
                         where nothing is lost */
    QONNX_RULE_FIXED, /* in integers, the output's range is [lo, hi] (Softmax) */
    QONNX_RULE_ACTIVATE /* Relu, Clip: folded into the range of what feeds it, else OWN */
} qonnx_rule_kind;

typedef struct qonnx_rule {
    qonnx_rule_kind kind;
    uint32_t activations; /* bit i: input i is an activation to quantize */
    int weight;           /* input that is a weight when constant; -1 none */
    int bias;             /* input that is a bias, int32 at scale sx*sw; -1 none */
    int weight_axis;      /* per-channel axis of the weight for this very node; -1 none */
    int channel_axis;     /* axis of the first input that the weight contracts; -1 none */
    float lo, hi;         /* range of QONNX_RULE_FIXED and of QONNX_RULE_ACTIVATE (Relu: 0, inf) */
    bool apart;           /* where it stays in float: runtimes know an integer form of the
                             operator that is not this node's, and must not find it between
                             DequantizeLinear and QuantizeLinear */
    bool to_float;        /* runtimes know a form of it that reads integers and gives floats: where
                             only operators in float read the output, it needs no QuantizeLinear */
    bool inside;          /* of kind FLOAT: the node is a part of a function of several operators, a
                             norm or a GELU, which is computed in float */
    qonnx_rule_kind elsewhere; /* of kind FLOAT: the kind that it is where a target has an integer
                                  form of it, which ONNX Runtime has not; FLOAT: none has */
} qonnx_rule;

/** The rule of this node; kind FLOAT for operators without one. [any thread] */
QONNX_API qonnx_rule qonnx_node_rule(const qonnx_node *n);

/** Whether the node must stay in float, whatever its rule: what a user or a pass has decided.
 * Passes that run behind keep to it. Nothing of it is in the model that is written. */
QONNX_API bool qonnx_node_kept_float(const qonnx_node *n);
QONNX_API void qonnx_node_keep_float(qonnx_node *n, bool keep);

/** How a node with a weight is quantized: the weight's scales (one, or one per channel) and, where
 *  it has a bias, room for the int32 bias at scale sx*sw: a scale is raised where
 *  |bias| / (sx * scale) would pass 2^31 (ONNX Runtime's rule). */
typedef struct qonnx_weight_params {
    int axis;      /* axis of the channels; -1: one scale for all */
    int count;     /* number of scales */
    float *scales; /* [count], in the graph's memory; zero points are 0 */
    int8_t *data;  /* the quantized weight, shape of the weight, in the graph's memory */
} qonnx_weight_params;

/** Quantizes the constant weight of `n` to `grid` (symmetric), or as its override has it. Where
 *  integers are kept of it, they stay, with their scale, in every channel in which the grid and the
 * bias allow it. `input_scale` is the scale of the activation it meets; <= 0 when the bias does not
 * matter. `bias` may be NULL, or one float per output channel. False when the weight is not a
 * constant float tensor. */
QONNX_API bool qonnx_node_quantize_weight(const qonnx_node *n, const qonnx_grid *grid,
                                          bool per_channel, float input_scale, const float *bias,
                                          qonnx_weight_params *out);

/* ---- the operators there are ----------------------------------------------------------------- */

enum { QONNX_OPERATOR_INPUTS = 8 };

/** An operator that is run, as far as it does not depend on the node. */
typedef struct qonnx_operator {
    const char *domain, *name; /* domain "": ONNX's own */
    int since, until;          /* operator sets of ONNX that have it; until 0: it is there still;
                                  both 0: it is of another domain */
    int least, most;           /* inputs; most -1: any number */
    uint32_t types[QONNX_OPERATOR_INPUTS]; /* bit t: that input may be of type t (qonnx_dtype),
                                              whatever the others are; one that may come any
                                              number of times is the last of the least. 0 where
                                              there is a subgraph, which decides */
    qonnx_rule_kind rule;      /* how it is quantized, where its attributes do not say otherwise */
    bool integers;             /* it has a form on integers */
    const char *qlinear, *qlinear_domain; /* the operator of that form in files; NULL: there is
                                             none but between DequantizeLinear and QuantizeLinear */
    bool subgraphs;            /* it has some */
    bool counted;              /* the size of an output is data */
} qonnx_operator;

/** The i-th operator; false past the last. [any thread] */
QONNX_API bool qonnx_operator_at(int i, qonnx_operator *o);

/* ---- ranges on values: written by the pass `calibrate`, read by `insert-qdq` ----------------- */

/** The range to quantize the value to. False when it has none (it stays float). */
QONNX_API bool qonnx_value_range(const qonnx_value *v, float *lo, float *hi);
QONNX_API void qonnx_value_set_range(qonnx_value *v, float lo, float hi);
/** Takes the range away: whatever reads or gives the value stays in float. */
QONNX_API void qonnx_value_clear_range(qonnx_value *v);

/* ---- integers that a file has already: written by `adopt-qdq`, read by `insert-qdq` ---------- */

/** How a float value was quantized in the file: what its DequantizeLinear reads. The tensors live
 *  as long as the graph. */
typedef struct qonnx_kept {
    qonnx_dtype dtype;               /* of the integers */
    const qonnx_tensor *scales;      /* float: one, one per channel, or one per block; NULL: of a
                                        computed value, only its range is known */
    const qonnx_tensor *zero_points; /* as many; NULL: all are 0 */
    const qonnx_tensor *integers;    /* of a constant; NULL: it is computed */
    int axis;                        /* of channels or blocks; not used where there is one scale */
    int64_t block;                   /* elements along the axis that share a scale; 0: none do */
    const char *name;                /* of the integers of a constant; else NULL */
    bool always;                     /* nobody read the value but through its integers, so that it
                                        is quantized whatever reads it */
} qonnx_kept;

/** NULL where nothing is kept: changing a constant forgets it. */
QONNX_API const qonnx_kept *qonnx_value_kept(const qonnx_value *v);
/** Copies *k; NULL: forgets it. */
QONNX_API void qonnx_value_keep(qonnx_value *v, const qonnx_kept *k);
/** Where a computed value has 8-bit integers with one scale, and the grid is all of 8 bits, the
 *  same integers on that grid: their scale and zero point. Else false. [any thread] */
QONNX_API bool qonnx_value_kept_params(const qonnx_value *v, const qonnx_grid *grid, float *scale,
                                       int *zero_point);

/** Puts DequantizeLinear, the operator and QuantizeLinear in the place of every QLinear operator
 *  whose scales are constant, and makes ONNX's own of what com.microsoft has in other words, its
 *  QuantizeLinear and DequantizeLinear among them: in all graphs of the model. */
QONNX_API void qonnx_graph_spread_qlinear(qonnx_graph *g);
/** The other way round, in all graphs of the model: puts a QLinear operator in the place of each
 *  DequantizeLinear, operator and QuantizeLinear that have one of which the same integers come, and
 *  lets data movement between equal parameters move the integers. */
QONNX_API void qonnx_graph_gather_qlinear(qonnx_graph *g);

/* ---- target profiles ------------------------------------------------------------------------- */

/** What a runtime does with an operator that can run in integers. */
typedef enum qonnx_taking {
    QONNX_TAKES_RULE,   /* it reads and gives integers, as its rule says */
    QONNX_TAKES_BEHIND, /* no Q/DQ pair in front of it: the runtime moves one there from behind it,
                           or computes the operator together with the one in front */
    QONNX_TAKES_FLOAT   /* it has no integer form there */
} qonnx_taking;

/** A row of a profile: what becomes of some operators, where it is not what their rules say. */
typedef struct qonnx_habit {
    const char *op;                     /* "Softmax"; NULL: every operator of `kind` */
    qonnx_rule_kind kind;               /* where `op` is NULL */
    qonnx_taking taking;                /* of an operator that has a rule elsewhere only, RULE says
                                           that this runtime has it, too */
    bool (*holds)(const qonnx_node *n); /* which nodes it is about; NULL: all. [any thread] */
    const char *why;                    /* of FLOAT and BEHIND: the reason, for people */
    bool per_tensor;                    /* its weight has one scale, whatever is asked for */
    bool zero_free;                     /* zero points of what it reads must be 0 */
    qonnx_rule_kind as;                 /* its kind there; FLOAT: that of its rule */
    bool vanishes;                      /* of a Relu or a Clip: it is computed in float, between its
                                           pairs, where it does not vanish */
    bool spreads;                       /* of data movement: a pair on one side of it is enough, the
                                           runtime puts one on the other */
} qonnx_habit;

/** What a runtime wants to find, so that everything it can run in integers does. */
typedef struct qonnx_target {
    size_t size; /* of this struct, in the library that made it: fields are added at the end */
    const char *name, *brief;
    qonnx_grid activation; /* activations */
    qonnx_grid weight;     /* weights, symmetric */
    bool quantize_outputs; /* a Q/DQ pair on every output of an integer operator, graph outputs too;
                              else only in front of one */
    bool bias_int32;       /* biases as int32 at sx*sw; else they stay float */
    bool fold_activations; /* Relu and Clip vanish into the range of what feeds them */
    qonnx_grid below_zero; /* activations whose range reaches below zero, where `split` */
    bool split;            /* there are two grids, so that every zero point is 0 */
    bool fuses_sums;       /* an Add is computed together with a product that only it reads: that
                              operand is not quantized; of two the one that took more operators */
    float least_range;     /* a narrower range is widened upwards to it; 0: none is */
    bool one_scale;        /* a Concat cannot requantize: all that it joins has its scale */
    uint32_t types;   /* bit t: activations of that type (qonnx_dtype) run in integers; 0: those of
                         the grids */
    bool zero_free;   /* zero points must be 0 */
    bool bias_float;  /* biases must be in float */
    bool lone_int8;   /* int8 that one operator alone reads becomes uint8 before anything is looked
                         for, where int8 does not run */
    bool qlinear;     /* it has operators of integers, QLinearConv and the like, and products that
                         read integers and give floats */
    bool pairs_int16; /* it adds two products of 8 bits in 16, where they may saturate */
    const qonnx_habit *habits; /* [nhabits]: the first that fits a node holds for it */
    int nhabits;               /* number of them */
    bool float_sums; /* the bias that an Add gives to a product's floats is added in float, where
                        only products in integers read the sum: one rounding instead of two */
} qonnx_target;

/** The node's rule on that target. `habit`: the row of the profile that holds for it; NULL: none,
 *  its rule is that of qonnx_node_rule(). May be NULL. [any thread] */
QONNX_API qonnx_rule qonnx_target_rule(const qonnx_target *t, const qonnx_node *n,
                                       const qonnx_habit **habit);
/** The grid of an activation whose least value is `lo`; a part of the profile. [any thread] */
QONNX_API const qonnx_grid *qonnx_target_grid(const qonnx_target *t, float lo);
/** The profile of that name; NULL if there is none. [any thread] */
QONNX_API const qonnx_target *qonnx_target_find(const char *name);
/** The i-th profile, in the order of the documentation; NULL past the end. [any thread] */
QONNX_API const qonnx_target *qonnx_target_at(int i);

/* ---- what a user or a pass wants of one value, in place of what the target has for all ------- */

/** How a value is quantized where that is not left to the target and the observer: what ONNX
 *  Runtime calls TensorQuantOverrides. All zero changes nothing. */
typedef struct qonnx_override {
    qonnx_grid grid;        /* of an activation or a weight; dtype QONNX_UNDEFINED: the target's */
    bool per_tensor;        /* of a weight: one scale, none per channel */
    bool absmax;            /* of a weight: its largest element decides its scale, whatever it
                               costs the others */
    const float *scales;    /* [count] exactly these, > 0; NULL: they follow from the range */
    const int *zero_points; /* [count] of `scales`, on the grid */
    int count;              /* 1, or of a weight the number of its channels; 0 without scales */
    bool ranged;            /* [lo, hi] is the range, whatever was seen */
    float lo, hi;
    const char *observer; /* NAME or NAME{OPTION=VALUE}; NULL: as for the others */
    const int8_t *integers; /* of a weight, as its elements lie: exactly these, with `scales`; they
                               are rounded anew where a bias wants larger scales. NULL: each is the
                               nearest. Changing the constant forgets them */
} qonnx_override;

/** NULL: the value is quantized as all others are. */
QONNX_API const qonnx_override *qonnx_value_override(const qonnx_value *v);
/** Copies *o, and what it points to; NULL: forgets it. Nothing of it is in the model that is
 *  written but what comes of it. */
QONNX_API void qonnx_value_set_override(qonnx_value *v, const qonnx_override *o);

#ifdef __cplusplus
}
#endif
#endif
