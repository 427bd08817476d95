/* ops/attributes.c - the types of attributes. ONNX gives an attribute of one name the same type in
 * all operators that we know, but for those that are listed with their operator.
 */
#include "ops/op.h"
#include <string.h>

/* Names by type, each between blanks. "OP.name" is that operator's alone and goes first. */
static const struct {
    int type;
    const char *names;
} types[] = {
    {ATTR_FLOAT, " Pad.value "},
    {ATTR_INT,
     " allowzero antialias axis batch_dims block_size blocksize broadcast ceil_mode "
     "count_include_pad end exclude_outside exclusive fmod group is_test k keepdims "
     "largest noop_with_empty_axes num_outputs output_dtype p reverse saturate select_last_index "
     "sorted spatial start storage_order training_mode transA transB value_int "},
    {ATTR_INTS,
     " axes consumed_inputs dilations ends kernel_shape output_padding output_shape pads "
     "perm shape split starts strides value_ints "},
    {ATTR_FLOAT,
     " alpha beta cubic_coeff_a epsilon extrapolation_value gamma high low max min momentum "
     "ratio value_float "},
    {ATTR_FLOATS, " value_floats "},
    {ATTR_STRING, " approximate auto_pad coordinate_transformation_mode equation "
                  "keep_aspect_ratio_policy mode nearest_mode value_string "},
    {ATTR_STRINGS, " value_strings "},
    {ATTR_TENSOR, " value "},
};

static const char *type_name(int type)
{
    static const char *const names[] = {"of no known type", "a float", "an integer", "a string",
                                        "a tensor",         "a graph", "floats",     "integers",
                                        "strings",          "tensors", "graphs"};
    return type > 0 && (size_t)type < sizeof names / sizeof *names ? names[type] : names[0];
}

static bool listed(const char *names, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = names; n && (at = strstr(at, word)); at++)
        if (at[-1] == ' ' && at[n] == ' ') return true;
    return false;
}

/* The type that attribute `name` of the operator must have; 0 when it may be anything. */
static int wanted_type(const char *op, const char *name)
{
    char own[128];
    bool fits = (size_t)snprintf(own, sizeof own, "%s.%s", op, name) < sizeof own;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((fits && listed(types[i].names, own)) || listed(types[i].names, name))
            return types[i].type;
    return 0;
}

bool op_check_attributes(Ctx *cx, const Node *n)
{
    for (int i = 0; i < n->nattr; i++) {
        const Attr *a = &n->attrs[i];
        int want = wanted_type(n->op, a->name);
        if (want && a->type != want)
            return qonnx_fail(cx, n, "attribute %s is %s, want %s", a->name, type_name(a->type),
                              type_name(want));
    }
    return true;
}
