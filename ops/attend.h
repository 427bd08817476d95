/* ops/attend.h - scaled dot product attention, which operators are made of: two products of
 * matrices with a softmax between them, over heads that lie anywhere.
 */
#ifndef OPS_ATTEND_H
#define OPS_ATTEND_H

#include "lower/lower.h"

/* Floats [batch][head][row][...] in that order, axes of size 1 being repeated. */
typedef struct Grid {
    Buf *buf; /* NULL: there is none */
    int64_t dims[4];
} Grid;

/* Queries, keys or values: elements from one batch, head and row to the next; within a row they are
 * side by side. */
typedef struct Heads {
    Buf *buf;
    int64_t batch, head, row;
    int64_t at; /* the first element, which must be 0 where they are multiplied */
} Heads;

typedef struct Attend {
    int64_t batch, heads, kv_heads; /* kv_heads divides heads: as many share a key */
    int64_t queries, keys;          /* rows */
    int64_t size, v_size;           /* elements of a row of a head */
    float scale, softcap;           /* of the scores; a softcap of 0 is none */
    Heads q, k, v;
    Grid bias;  /* is added to the scores */
    bool guard; /* rows whose bias is -inf throughout attend to nothing and give 0 */
    Grid sink;  /* [1][head or 1][1][1]: a further score of each row, of a value of 0 */
    Grid scores, capped, biased, weights; /* made: products, after softcap, bias and softmax */
} Attend;

/* a / parts, a + b and a * b of sizes, -1 where one is open. */
static inline int64_t open_part(int64_t a, int64_t parts)
{
    return a < 0 || parts < 1 ? -1 : a / parts;
}

static inline int64_t open_plus(int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : a + b; }

static inline int64_t open_times(int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : a * b; }

/* Fail with a message unless an attribute is a number of heads, or the rows of input i are that
 * many heads. */
bool attend_check_heads(Ctx *cx, const Node *n, const char *name, int64_t heads);
bool attend_check_split(Ctx *cx, const Node *n, int i, int64_t heads);
/* Whether kernels can index something of those sizes, or all that attention is made of; a message
 * where not. */
bool attend_fits(Ctx *cx, const Node *n, const char *what, const int64_t dims[4]);
bool attend_check(Ctx *cx, const Node *n, const Attend *a);
/* Emits the calls. Returns [batch][head][query][v_size]. */
Buf *attend(Lower *l, const Node *n, Attend *a);
/* Multiplications, and steps of all else, open sizes being 1; -1 when they do not fit. */
int64_t attend_macs(const Attend *a);
int64_t attend_work(const Attend *a);

/* Heads of a tensor [batch][row][heads * size], and of one [batch][head][row][size]. */
Heads heads_of_rows(Buf *b, int64_t rows, int64_t heads, int64_t size);
Heads heads_in_order(Buf *b, int64_t rows, int64_t heads, int64_t size);
/* Both behind each other in `to`, [batch][head][past + rows][size]; `past` may be NULL. */
Heads heads_join(Lower *l, const Node *n, const Attend *a, Buf *past, int64_t past_rows,
                 const Heads *h, int64_t rows, int64_t size, Buf *to);
/* y = [batch][head][query][v_size] as [batch][query][head][v_size]. */
void heads_to_rows(Lower *l, const Node *n, const Attend *a, Buf *y, Buf *to);

/* a op b (F_ADD ...), a or b where the other is not there. */
Grid grid_join(Lower *l, const Node *n, int op, Grid a, Grid b);
/* code(x) of kernels/unary_rows.h, clamped. */
Grid grid_map(Lower *l, const Node *n, int code, float lo, float hi, Grid x);
/* The grid with so many columns, -inf where it has none. */
Grid grid_columns(Lower *l, const Node *n, Grid g, int64_t columns);
/* One number. */
Grid grid_number(Lower *l, float x);
/* factor * key + row_factor * query + first, which is a whole number. */
Grid grid_places(Lower *l, const Node *n, const Attend *a, float factor, float row_factor,
                 float first);
/* 0 where x is 1, -inf where it is 0; x is clamped to 0..1. */
Grid grid_barred(Lower *l, const Node *n, Grid x);
/* 0 where a query sees a key by its place, else -inf: at most `left` keys before the one that it
 * stands at and `right` behind it, where -1 is all. Query r stands at key r + `first` of its batch
 * ([batch][1][1][1], or NULL for 0), plus `more`. */
Grid grid_window(Lower *l, const Node *n, const Attend *a, Grid first, int64_t more, int64_t left,
                 int64_t right);
/* Fails with a message unless input i broadcasts to dims; its own dims, 1 in front. */
bool grid_check(Ctx *cx, const Node *n, int i, const int64_t dims[4], int64_t own[4]);
/* Input i, of whatever type, as floats of those dims. */
Grid grid_input(Lower *l, Node *n, int i, const int64_t dims[4]);

#endif
