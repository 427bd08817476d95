/* cli/metrics/coco.h - the boxes that pictures should have: COCO's instances JSON. */
#ifndef CLI_METRICS_COCO_H
#define CLI_METRICS_COCO_H

#include <qonnx/base.h>

typedef struct CocoImage {
    int64_t id;
    char *name;           /* file_name; owned */
    double width, height; /* pixels */
} CocoImage;

typedef struct CocoBox {
    size_t image;    /* index */
    size_t category; /* index */
    double x, y, w, h;
    bool crowd; /* of many objects: matches any number of boxes, and counts for none */
} CocoBox;

typedef struct Coco {
    CocoImage *images;   /* [nimages] by id; owned */
    int64_t *categories; /* [ncategories] ids, in order; owned */
    CocoBox *boxes;      /* [nboxes] by image, in the order of the file; owned */
    size_t nimages, ncategories, nboxes;
} Coco;

/* Reads a file; false after a message in the context, *out being for coco_free either way. */
QONNX_CHECKED bool coco_read(qonnx_ctx *cx, const char *path, Coco *out);
void coco_free(Coco *c);
/* The index of an id; SIZE_MAX: there is none. */
size_t coco_category(const Coco *c, int64_t id);

#endif
