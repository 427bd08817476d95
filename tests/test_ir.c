/* tests/test_ir.c - the graph: edits keep uses right, refresh sorts, verify names what is broken,
 * clones and hashes tell graphs apart, and planned buffers never overlap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "ir/ir.h"
#include "kernels/params.h"
#include "lower/program.h"
#include "ops/op.h"

static Graph *empty_graph(void)
{
    Graph *g = graph_new("test.onnx");
    g->model->opsets = arena_alloc(g->model->arena, sizeof(Opset));
    g->model->opsets[0] = (Opset){"", 13};
    g->model->nopset = 1;
    return g;
}

static Value *float_input(Graph *g, const char *name, int64_t columns)
{
    Value *v = graph_value(g, name);
    v->dtype = QONNX_FLOAT;
    v->shape = shape_make(2, (int64_t[]){1, columns});
    graph_put_input(g, v);
    return v;
}

static Value *add_op(Graph *g, Node *before, const char *op, Value *a, Value *b, const char *name)
{
    Value *y = qonnx_graph_add_value(g, name), *in[2] = {a, b};
    qonnx_graph_add_node(g, before, op, "", name, in, b ? 2 : 1, &y, 1);
    return y;
}

#ifndef HARD /* there it is an assertion */
static bool fails_silently(Lower *l, Node *n)
{
    (void)l;
    (void)n;
    return false;
}

/* A lowering that fails without a message gets one, with the node's name. */
static void silent_failures_are_told(void **state)
{
    (void)state;
    static const Op row = {.name = "Relu", .min_in = 1, .max_in = 1, .lower = fails_silently};
    Graph *g = empty_graph();
    Value *y = add_op(g, NULL, "Relu", float_input(g, "x", 4), NULL, "y");
    y->dtype = QONNX_FLOAT;
    y->shape = shape_make(2, (int64_t[]){1, 4});
    y->def->row = &row;
    graph_put_output(g, y);
    Ctx *cx = ctx_quiet();
    assert_null(program_new(cx, g));
    assert_non_null(strstr(qonnx_error(cx), "node 'y' (Relu)"));
    assert_non_null(strstr(qonnx_error(cx), "does not say why"));
    qonnx_ctx_free(cx);
}
#endif

static void names_are_unique(void **state)
{
    (void)state;
    Graph *g = empty_graph();
    for (int i = 0; i < 1000; i++) qonnx_graph_add_value(g, "x");
    assert_int_equal(g->nvalue, 1000);
    assert_string_equal(g->values[0]->name, "x");
    assert_string_equal(g->values[999]->name, "x_999");
    assert_ptr_equal(qonnx_graph_find(g, "x_500"), g->values[500]);
    qonnx_value_rename(g->values[0], "y");
    assert_null(qonnx_graph_find(g, "x"));
    assert_ptr_equal(qonnx_graph_find(g, "y"), g->values[0]);
    qonnx_graph_free(g);
}

/* A node that has one subgraph. */
static Graph *put_subgraph(Node *n, const char *attr)
{
    Graph *sub = graph_new_sub(n->graph, n);
    Attr *a = node_put_attr(n, attr);
    a->type = ATTR_GRAPH;
    node_set_graphs(n, a, arena_copy(n->graph->model->arena, &sub, sizeof sub), 1);
    return sub;
}

static Graph *add_subgraph(Graph *g)
{
    return put_subgraph(add_op(g, NULL, "If", float_input(g, "x", 4), NULL, "y")->def,
                        "then_branch");
}

/* What a graph owns stays shared in clones, at any depth; what a clone has computed never is. */
static void clones_share_what_outlives_them(void **state)
{
    (void)state;
    static const float one = 1;
    static const Tensor t = {.dtype = QONNX_FLOAT, .data = &one, .bytes = sizeof one};
    Graph *g = empty_graph(), *sub = add_subgraph(g);
    graph_put_constant(g, graph_value(g, "outer"), &t);
    graph_put_constant(sub, graph_value(sub, "inner"), &t);
    graph_share(g);
    Graph *part = graph_clone(g), *in = part->first->subs[0];
    assert_true(graph_own(part, "outer")->shared);
    assert_true(graph_own(in, "inner")->shared);
    graph_put_constant(part, graph_value(part, "outer_computed"), &t);
    graph_put_constant(in, graph_value(in, "inner_computed"), &t);
    Graph *rest = graph_clone(part);
    in = rest->first->subs[0];
    assert_true(graph_own(rest, "outer")->shared);
    assert_true(graph_own(in, "inner")->shared);
    assert_false(graph_own(rest, "outer_computed")->shared);
    assert_false(graph_own(in, "inner_computed")->shared);
    qonnx_graph_free(rest);
    qonnx_graph_free(part);
    qonnx_graph_free(g);
}

static void names_avoid_subgraphs(void **state)
{
    (void)state;
    Graph *g = empty_graph();
    graph_value(add_subgraph(g), "inner");
    assert_string_equal(qonnx_graph_add_value(g, "inner")->name, "inner_1");
    qonnx_graph_free(g);
}

static void assert_path(const Graph *g, const char *want)
{
    char *path = qonnx_graph_path(g);
    assert_string_equal(path, want);
    free(path);
}

/* A node with two subgraphs, of which the second has one of its own, and a node behind it. */
static void graphs_have_places(void **state)
{
    (void)state;
    Graph *g = empty_graph(), *in[3];
    Value *x = float_input(g, "x", 4);
    Node *n = add_op(g, NULL, "If", x, NULL, "a>b\\")->def;
    in[0] = put_subgraph(n, "then_branch");
    in[1] = put_subgraph(n, "else_branch");
    Node *m = graph_append(in[1], "Loop", "", "", 0, 1);
    qonnx_node_set_output(m, 0, graph_value(in[1], "z"));
    in[2] = put_subgraph(m, "body");
    Node *last = add_op(g, NULL, "Relu", x, NULL, "y")->def;
    assert_null(last->next);
    assert_ptr_equal(qonnx_graph_next(g), in[0]);
    assert_ptr_equal(qonnx_graph_next(in[0]), in[1]);
    assert_ptr_equal(qonnx_graph_next(in[1]), in[2]);
    assert_null(qonnx_graph_next(in[2]));
    assert_path(g, "");
    assert_path(in[0], "a\\>b\\\\>then_branch");
    assert_path(in[2], "a\\>b\\\\>else_branch>z>body");
    assert_ptr_equal(qonnx_graph_owner(in[2]), m);
    assert_string_equal(qonnx_graph_attribute(in[1]), "else_branch");
    assert_true(graph_has_place(in[2]));
    qonnx_graph_free(g);
}

static void uses_follow_edits(void **state)
{
    (void)state;
    Graph *g = empty_graph();
    Value *x = float_input(g, "x", 4), *y = add_op(g, NULL, "Add", x, x, "y");
    Value *z = add_op(g, NULL, "Relu", y, NULL, "z");
    graph_put_output(g, z);
    assert_int_equal(x->nuse, 2);
    assert_ptr_equal(qonnx_value_only_user(y), z->def);
    assert_null(qonnx_value_only_user(z));
    qonnx_value_replace_uses(y, x);
    assert_int_equal(y->nuse, 0);
    assert_int_equal(x->nuse, 3);
    assert_int_equal(qonnx_graph_sweep(g), 1);
    assert_int_equal(x->nuse, 1);
    Ctx *cx = qonnx_ctx_new();
    assert_true(graph_verify(cx, g));
    z->uses = x->uses; /* a use that is none */
    z->nuse = 1;
    assert_false(graph_verify(cx, g));
    assert_non_null(strstr(qonnx_error(cx), "'z'"));
    qonnx_ctx_free(cx);
    qonnx_graph_free(g);
}

static void outputs_move(void **state)
{
    (void)state;
    Graph *g = empty_graph();
    Value *x = float_input(g, "x", 4), *y = add_op(g, NULL, "Neg", x, NULL, "y");
    Value *z = add_op(g, NULL, "Identity", y, NULL, "z");
    graph_put_output(g, z);
    Node *neg = y->def;
    qonnx_node_remove(z->def);
    qonnx_node_set_output(neg, 0, z);
    Ctx *cx = qonnx_ctx_new();
    assert_true(qonnx_graph_refresh(cx, g) && graph_verify(cx, g));
    assert_ptr_equal(z->def, neg);
    assert_null(y->def);
    assert_int_equal(z->shape.dim[1], 4);
    qonnx_ctx_free(cx);
    qonnx_graph_free(g);
}

static void refresh_sorts(void **state)
{
    (void)state;
    Graph *g = empty_graph();
    Value *v = float_input(g, "x", 4);
    for (int i = 0; i < 100; i++) v = add_op(g, g->first, "Neg", v, NULL, "n"); /* backwards */
    graph_put_output(g, v);
    Ctx *cx = qonnx_ctx_new();
    assert_true(qonnx_graph_refresh(cx, g));
    assert_string_equal(g->first->name, "n");
    assert_ptr_equal(g->last->out[0], v);
    assert_int_equal(v->shape.dim[1], 4);
    qonnx_node_set_input(g->first, 0, v); /* a cycle */
    assert_false(qonnx_graph_refresh(cx, g));
    assert_non_null(strstr(qonnx_error(cx), "cycles"));
    qonnx_ctx_free(cx);
    qonnx_graph_free(g);
}

static void hash_sees_meaning(void **state)
{
    (void)state;
    uint8_t a[16], b[16];
    Graph *g = empty_graph();
    Value *y = add_op(g, NULL, "LeakyRelu", float_input(g, "x", 4), NULL, "y");
    graph_put_output(g, y);
    graph_hash(g, a);
    Graph *c = graph_clone(g);
    graph_hash(c, b);
    assert_memory_equal(a, b, 16);
    c->first->name = "another";
    graph_hash(c, b);
    assert_memory_equal(a, b, 16);
    qonnx_node_set_float(c->first, "alpha", 0.25f);
    graph_hash(c, b);
    assert_memory_not_equal(a, b, 16);
    assert_false(qonnx_node_has(g->first, "alpha"));
    qonnx_graph_free(c);
    qonnx_graph_free(g);
}

/* Random lives and sizes: no two buffers that live at the same time may share a byte. */
static void plan_is_disjoint(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 50; round++) {
        enum { N = 60 };
        Buf bufs[N], *list[N];
        Program p = {.bufs = list, .nbuf = N};
        for (int i = 0; i < N; i++) {
            int born = rand() % 40;
            bufs[i] =
                (Buf){.bytes = (size_t)(rand() % 5000), .born = born, .dies = born + rand() % 6};
            list[i] = &bufs[i];
        }
        program_plan(&p, 64);
        assert_true(p.memory >= p.alive && p.memory <= p.alive + p.alive / 5);
        for (int i = 0; i < N; i++) {
            assert_true(bufs[i].offset + bufs[i].bytes <= p.memory);
            for (int k = 0; k < i; k++) {
                bool meet = bufs[i].born <= bufs[k].dies && bufs[k].born <= bufs[i].dies;
                bool apart = bufs[i].offset + bufs[i].bytes <= bufs[k].offset ||
                             bufs[k].offset + bufs[k].bytes <= bufs[i].offset;
                assert_true(!meet || apart || !bufs[i].bytes || !bufs[k].bytes);
            }
        }
    }
}

/* x -> unary -> unary -> add with x: the second may take the first one's memory, the add the
 * second's; x itself is the caller's. */
static void plan_works_in_place(void **state)
{
    (void)state;
    f_unary_p u = {.op = F_ABS, .count = 32};
    f_binary_p add = {.op = F_ADD,
                      .d0 = 1,
                      .d1 = 1,
                      .d2 = 1,
                      .d3 = 1,
                      .d4 = 4,
                      .d5 = 8,
                      .a4 = 8,
                      .a5 = 1,
                      .b4 = 8,
                      .b5 = 1};
    Buf x = {.bytes = 128, .port = 1, .born = -1, .dies = 2};
    Buf a = {.bytes = 128, .dies = 1}, b = {.bytes = 128, .born = 1, .dies = 2};
    Buf y = {.bytes = 128, .born = 2, .dies = 3},
        z = {.bytes = 128, .port = -1, .born = 3, .dies = 3};
    Call calls[] = {{.kernel = kernel_find("f_unary"),
                     .params = &u,
                     .in = (Buf *[]){&x},
                     .nin = 1,
                     .out = (Buf *[]){&a}},
                    {.kernel = kernel_find("f_unary"),
                     .params = &u,
                     .in = (Buf *[]){&a},
                     .nin = 1,
                     .out = (Buf *[]){&b}},
                    {.kernel = kernel_find("f_binary"),
                     .params = &add,
                     .in = (Buf *[]){&x, &b},
                     .nin = 2,
                     .out = (Buf *[]){&y}},
                    {.kernel = kernel_find("f_unary"),
                     .params = &u,
                     .in = (Buf *[]){&y},
                     .nin = 1,
                     .out = (Buf *[]){&z}}};
    Buf *bufs[] = {&x, &a, &b, &y, &z};
    Program p = {.calls = calls, .ncall = 4, .bufs = bufs, .nbuf = 5};
    program_plan(&p, 16);
    assert_int_equal(p.memory, 128);
    assert_int_equal(p.alive, 128);
    add.b4 = 1, add.b5 = 4; /* the add reads b in another order: it needs memory of its own */
    program_plan(&p, 16);
    assert_int_equal(p.memory, 256);
    add.b4 = 8, add.b5 = 1;
    b.dies = 3; /* b is needed later */
    program_plan(&p, 16);
    assert_int_equal(p.memory, 256);
    assert_int_not_equal(b.offset, y.offset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        
#ifndef HARD
        cmocka_unit_test(silent_failures_are_told),
#endif
        cmocka_unit_test(clones_share_what_outlives_them),
        cmocka_unit_test(names_are_unique),  cmocka_unit_test(names_avoid_subgraphs),
        cmocka_unit_test(graphs_have_places),
        cmocka_unit_test(uses_follow_edits), cmocka_unit_test(outputs_move),
        cmocka_unit_test(refresh_sorts),     cmocka_unit_test(hash_sees_meaning),
        cmocka_unit_test(plan_is_disjoint),  cmocka_unit_test(plan_works_in_place),
    };
    return cmocka_run_group_tests_name("ir", tests, NULL, NULL);
}
