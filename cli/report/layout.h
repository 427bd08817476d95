/* cli/report/layout.h - where the boxes of a graph are drawn: in layers, each box below all that it
 * reads, with few crossings.
 */
#ifndef CLI_REPORT_LAYOUT_H
#define CLI_REPORT_LAYOUT_H

enum { BOX_WIDTH = 160, BOX_HEIGHT = 36, BOX_STEP = 62 /* from one layer to the next */ };

/* A line between two boxes, by their numbers: from < to. */
typedef struct Edge {
    int from, to;
    int bends; /* points on its way, one a layer that it crosses; 0 where it crosses too many */
    int first; /* the first of them in Layout.x */
} Edge;

typedef struct Layout {
    int boxes, edges;
    Edge *edge; /* [edges] owned */
    int *rank;  /* [spots] the layer of each box, then of each bend; owned */
    double *x;  /* [spots] the middle of each; owned */
    int spots;
    double width, height;
} Layout;

/* Places boxes 0 to boxes - 1, which are in topological order. `edge` becomes the layout's. Ends
 * the process where memory is out. */
Layout layout_make(int boxes, Edge *edge, int edges);
void layout_free(Layout *l);

#endif
