/* backends/c/pixels.c - NAME_image: pixels as a camera gives them become the model's input, by the
 * preprocessing that it was quantized with. Nothing is resized: pixels have the network's size.
 */
#include "backends/c/model.h"
#include "frontend/data/preprocess_apply.h"
#include <stdlib.h>
#include <string.h>

/* What messages begin with, and what the preprocessing is said to be of. */
static const char where[] = "--io image";

/* The input as pictures are read for it, with the shape that the code has. */
static Feed feed_of(const CPort *c)
{
    const Tensor *t = &c->port->tensor;
    Feed f = {.name = (char *)(uintptr_t)c->name, .dtype = t->dtype, .rank = t->rank};
    memcpy(f.dims, t->dims, sizeof f.dims);
    return f;
}

bool c_pixels(CModel *m, const char *text)
{
    Preprocess spec;
    Prepared *p = arena_alloc(m->arena, sizeof *p);
    CPixels *px = arena_alloc(m->arena, sizeof *px);
    if (!preprocess_parse(m->cx, where, text, &spec)) return false;
    int found = m->program->ninput == 1 ? 0 : -1;
    for (int i = 0; found < 0 && i < m->program->ninput; i++)
        if (m->in[i].port->tensor.rank == 4) found = i;
    if (found < 0)
        return qonnx_fail(m->cx, NULL, "%s: %s: none of its inputs takes pictures",
                          m->program->graph->model->path, where);
    Feed feed = feed_of(&m->in[found]);
    if (!preprocess_resolve(m->cx, &spec, &feed, where, p)) return false;
    const Target *t = &p->target;
    char line[DESCRIPTION];
    *px = (CPixels){.input = found,
                    .table = &p->table,
                    .channels = t->channels,
                    .bgr = p->p.color == COLOR_BGR,
                    .last = t->channels_last,
                    .width = (size_t)t->width,
                    .height = (size_t)t->height,
                    .line = arena_string(m->arena, preprocess_describe(&p->p, t, line))};
    m->pixels = px;
    return true;
}

static int order(const CPixels *px, int c) { return px->bgr ? 2 - c : c; }

static void print_prototype(const CModel *m, FILE *f)
{
    fprintf(f, "void %s_image(const uint8_t *pixels, %s *in%d)", m->prefix,
            m->in[m->pixels->input].ctype, m->pixels->input);
}

void c_print_pixels_header(const CModel *m, FILE *f)
{
    const CPixels *px = m->pixels;
    if (!px) return;
    fprintf(f,
            "/* Makes in%d of pixels: uint8_t [%zu][%zu][%d], row by row from the top, %s. Made\n"
            " * for %s. */\n",
            px->input, px->height, px->width, px->channels, px->channels == 1 ? "gray" : "RGB",
            px->line);
    print_prototype(m, f);
    fputs(";\n\n", f);
}

void c_print_pixels(const CModel *m, FILE *f)
{
    const CPixels *px = m->pixels;
    if (!px) return;
    const char *ctype = m->in[px->input].ctype;
    const Source *s = source_find("pixels.h");
    size_t size = px->table->size, count = px->width * px->height;
    uint8_t *rows = xmalloc_array(3 * 256, size);
    for (int c = 0; c < px->channels; c++)
        memcpy(rows + (size_t)c * 256 * size, px->table->element[c], 256 * size);
    fprintf(f, "\n/* ---- pixels ---- */\n\n#define PIXELS_TYPE %s\n", ctype);
    fwrite(s->text, 1, s->bytes, f);
    text_array(f, "", ctype, "pixels_table", rows, (size_t)px->channels * 256);
    free(rows);
    fprintf(f, "static const uint8_t pixels_order[3] = {%d, %d, %d};\n\n", order(px, 0),
            order(px, 1), order(px, 2));
    print_prototype(m, f);
    fprintf(f,
            "\n{\n    pixels_put(pixels, pixels_table, pixels_order, %zu, %d, %d, %zu, in%d);\n}\n",
            count, px->channels, px->last ? px->channels : 1, px->last ? 1 : count, px->input);
}

void c_fill_pixels(const CPixels *px, const uint8_t *pixels, void *input)
{
    size_t count = px->width * px->height, channels = (size_t)px->channels, size = px->table->size;
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < channels; c++) {
            size_t to = px->last ? i * channels + c : c * count + i;
            uint8_t byte = pixels[i * channels + (size_t)order(px, (int)c)];
            memcpy((uint8_t *)input + to * size, px->table->element[c] + byte * size, size);
        }
}
