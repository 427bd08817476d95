/* cli/metrics/coco.c - see coco.h. Nothing in the file is trusted. */
#include "coco.h"
#include "cli/progress.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A file being read. */
typedef struct Reading {
    qonnx_ctx *cx;
    const char *path;
    Coco *c;
} Reading;

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int by_image_id(const void *a, const void *b)
{
    return by_id(&((const CocoImage *)a)->id, &((const CocoImage *)b)->id);
}

size_t coco_category(const Coco *c, int64_t id)
{
    const int64_t *found = c->ncategories
                               ? bsearch(&id, c->categories, c->ncategories, sizeof id, by_id)
                               : NULL;
    return found ? (size_t)(found - c->categories) : SIZE_MAX;
}

static size_t image_of(const Coco *c, int64_t id)
{
    const CocoImage key = {.id = id};
    const CocoImage *found =
        c->nimages ? bsearch(&key, c->images, c->nimages, sizeof key, by_image_id) : NULL;
    return found ? (size_t)(found - c->images) : SIZE_MAX;
}

static bool odd(Reading *r, const char *list, size_t i, const char *want)
{
    return qonnx_fail(r->cx, NULL, "%s: %s[%zu] is not as COCO's instances have it: want %s",
                      r->path, list, i, want);
}

/* A list of the file. */
static bool take_list(Reading *r, json_t *root, const char *name, json_t **list)
{
    *list = json_object_get(root, name);
    return json_is_array(*list) ||
           qonnx_fail(r->cx, NULL, "%s: has no list '%s'; want COCO's instances, with lists "
                                   "'images', 'annotations' and 'categories'",
                      r->path, name);
}

static bool number(const json_t *object, const char *key, double *out)
{
    const json_t *x = json_object_get(object, key);
    *out = json_number_value(x);
    return json_is_number(x) && isfinite(*out);
}

static bool take_images(Reading *r, json_t *list)
{
    Coco *c = r->c;
    size_t count = json_array_size(list);
    c->images = needed(calloc(count + 1, sizeof *c->images));
    for (size_t i = 0; i < count; i++) {
        const json_t *o = json_array_get(list, i), *id = json_object_get(o, "id");
        const char *name = json_string_value(json_object_get(o, "file_name"));
        CocoImage *m = &c->images[i];
        if (!json_is_integer(id) || !name || !number(o, "width", &m->width) ||
            !number(o, "height", &m->height) || m->width < 1 || m->height < 1)
            return odd(r, "images", i, "an id, a file_name, a width and a height");
        m->id = json_integer_value(id);
        m->name = needed(strdup(name));
        c->nimages++;
    }
    qsort(c->images, count, sizeof *c->images, by_image_id);
    for (size_t i = 1; i < count; i++)
        if (c->images[i].id == c->images[i - 1].id)
            return qonnx_fail(r->cx, NULL, "%s: two images have the id %lld", r->path,
                              (long long)c->images[i].id);
    return true;
}

static bool take_categories(Reading *r, json_t *list)
{
    Coco *c = r->c;
    size_t count = json_array_size(list);
    c->categories = needed(calloc(count + 1, sizeof *c->categories));
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_object_get(json_array_get(list, i), "id");
        if (!json_is_integer(id)) return odd(r, "categories", i, "an id");
        c->categories[c->ncategories++] = json_integer_value(id);
    }
    qsort(c->categories, count, sizeof *c->categories, by_id);
    for (size_t i = 1; i < count; i++)
        if (c->categories[i] == c->categories[i - 1])
            return qonnx_fail(r->cx, NULL, "%s: two categories have the id %lld", r->path,
                              (long long)c->categories[i]);
    return true;
}

/* [x, y, width, height]. */
static bool take_box(const json_t *bbox, CocoBox *b)
{
    double v[4];
    for (size_t i = 0; i < 4; i++) {
        const json_t *x = json_array_get(bbox, i);
        v[i] = json_number_value(x);
        if (!json_is_number(x) || !isfinite(v[i])) return false;
    }
    b->x = v[0], b->y = v[1], b->w = v[2], b->h = v[3];
    return json_array_size(bbox) == 4 && b->w >= 0 && b->h >= 0;
}

static int by_image(const void *a, const void *b)
{
    const CocoBox *x = a, *y = b;
    return (x->image > y->image) - (x->image < y->image);
}

static bool take_annotations(Reading *r, json_t *list)
{
    Coco *c = r->c;
    size_t count = json_array_size(list);
    c->boxes = needed(calloc(count + 1, sizeof *c->boxes));
    for (size_t i = 0; i < count; i++) {
        const json_t *o = json_array_get(list, i), *image = json_object_get(o, "image_id");
        const json_t *category = json_object_get(o, "category_id");
        const json_t *crowd = json_object_get(o, "iscrowd");
        CocoBox *b = &c->boxes[i];
        if (!json_is_integer(image) || !json_is_integer(category) ||
            !take_box(json_object_get(o, "bbox"), b))
            return odd(r, "annotations", i,
                       "an image_id, a category_id and a bbox [x, y, width, height]");
        b->image = image_of(c, json_integer_value(image));
        b->category = coco_category(c, json_integer_value(category));
        b->crowd = json_is_true(crowd) || json_integer_value(crowd) != 0;
        if (b->image == SIZE_MAX || b->category == SIZE_MAX)
            return odd(r, "annotations", i, "an image and a category that the file has");
        c->nboxes++;
    }
    qsort(c->boxes, count, sizeof *c->boxes, by_image); /* of an image they may come in any order */
    return true;
}

bool coco_read(qonnx_ctx *cx, const char *path, Coco *out)
{
    json_error_t error;
    *out = (Coco){.images = NULL};
    Reading r = {cx, path, out};
    json_t *root = json_load_file(path, 0, &error), *images, *annotations, *categories;
    if (!root)
        return qonnx_fail(cx, NULL, "%s: line %d: %s; want COCO's instances as JSON", path,
                          error.line, error.text);
    bool good = take_list(&r, root, "images", &images) &&
                take_list(&r, root, "annotations", &annotations) &&
                take_list(&r, root, "categories", &categories) && take_images(&r, images) &&
                take_categories(&r, categories) && take_annotations(&r, annotations);
    json_decref(root);
    return good;
}

void coco_free(Coco *c)
{
    for (size_t i = 0; i < c->nimages; i++) free(c->images[i].name);
    free(c->images);
    free(c->categories);
    free(c->boxes);
    *c = (Coco){.images = NULL};
}
