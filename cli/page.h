/* cli/page.h - pieces of an HTML page: text, pictures, ranges of values. Nothing in it is a script,
 * and nothing is loaded: the page is one file.
 */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include <qonnx/run.h>
#include <stdio.h>

/* The beginning up to <body>, with the style, and the end. `title` is any text. */
void page_begin(FILE *f, const char *title);
void page_end(FILE *f);

/* A name or text from a file, escaped, with '?' for controls and what is no character. */
void page_text(FILE *f, const char *text);

/* A picture in the page itself, with a caption, which is text and `more` behind it. False: it can
 * not be encoded; a message has been printed. */
bool page_picture(FILE *f, const qonnx_picture *p, const char *caption, const char *more);

/* A table with a row for each of the tensor's channels, 1 or 3 of them along the axis 1 or 3. Axis
 * -1: a row for all elements. */
void page_channels(FILE *f, const qonnx_tensor *t, int axis, bool bgr);

#endif
