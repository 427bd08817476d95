/* frontend/reader.h - what reading a file and inlining its functions share: a GraphProto becomes a
 * graph of the IR.
 */
#ifndef FRONTEND_READER_H
#define FRONTEND_READER_H

#include "frontend/external.h"
#include "ir/ir.h"
#include "onnx.pb-c.h"

/* A call whose function's body is read: its names become those of the model (functions.c). */
typedef struct Call Call;

typedef struct Reader {
    Ctx *cx;
    const char *path;        /* of the model */
    Arena *arena;            /* the graph's */
    ExternalFiles *external; /* opened at the first external tensor */
    const Call *call;        /* NULL: what is read is no function's body */
    struct Function *functions; /* [function_count] of the model, in order; NULL: it has none */
    size_t function_count;
} Reader;

/* Reads a subgraph of `parent`, for its node `owner`. NULL on failure. */
Graph *reader_graph(Reader *r, const Onnx__GraphProto *p, Graph *parent, Node *owner);

/* functions.c: */
/* Lists the model's functions, and checks what is said of them before any is called. */
bool functions_check(Reader *r, const Onnx__ModelProto *m);
/* Whether a node calls one of them. */
bool function_is_called(const Reader *r, const Node *n);
/* The name in the model of a value that is called `name` in the body, where it is read, and where
 * it is made (NULL, with a message, where it cannot be), and of a node. */
const char *call_value(const Reader *r, const char *name);
const char *call_new_value(const Reader *r, const char *name);
const char *call_node(const Reader *r, const char *name);
/* What an attribute of the body that refers to one of the call is: in `given` or else, from the
 * function's defaults, in `dflt`; both NULL where there is neither. */
bool call_attr(const Reader *r, const Node *n, const char *ref, const Attr **given,
               const Onnx__AttributeProto **dflt);

#endif
