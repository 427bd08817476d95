/* ops/ml_tables.h - tables in attributes of ai.onnx.ml's operators: lists of keys and of values.
 */
#ifndef OPS_ML_TABLES_H
#define OPS_ML_TABLES_H

#include "ops/host.h"
#include "ops/ml.h"

/* A list of elements of one type, in an attribute. */
typedef struct List {
    const void *data;     /* of numbers; NULL: 0, 1, 2, ... */
    char *const *strings; /* of strings in a list; NULL: they are in the tensor */
    const Tensor *tensor; /* or NULL */
    int64_t count;
    DType type;
} List;

/* The one of the attributes LEAD_int64s, LEAD_floats, LEAD_strings and LEAD_tensor that is there;
 * where there is none, an empty list. */
List ml_list(const Node *n, const char *lead);
/* The lists of a LabelEncoder or a CategoryMapper whose input is of type x. In operator set 1 of
 * the former there is one, of strings, which integers count; x says which of two has the keys. */
void ml_encoder_lists(const Node *n, DType x, List *keys, List *values);
/* The number for what is no key, one element of that type. */
void ml_put_default(const Node *n, DType t, void *to);

/* A key of a table, as kernels/order.h has it, and which value is its. */
typedef struct Entry {
    uint64_t key;
    int64_t at;
} Entry;

/* Sorts the keys, of equal ones the first or the last stays; returns how many there are then. */
int64_t ml_sort(Entry *e, int64_t count, bool last);

/* Where strings are looked up, or are what is found (ml_strings.c). */
bool ml_encoder_host(Host *h, const Node *n);
bool ml_one_hot_host(Host *h, const Node *n);

#endif
