/* cli/page.h - pieces of an HTML page: text, pictures, ranges of values. Nothing is loaded: the
 * page is one file, and its policy lets a browser run no script and take no style but those that
 * are given here.
 */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include <qonnx/run.h>
#include <stdio.h>

/* A style or a script, which is a file of the sources. */
typedef struct PageText {
    const char *text;
    const char *hash; /* by which the policy allows it: "sha256-..." */
} PageText;
extern const PageText page_css, report_css, report_js;

/* The beginning up to <body>, with the style and `style`, and the end, with `script`; NULL: none of
 * its own, none. `title` is any text. */
void page_begin(FILE *f, const char *title, const PageText *style, const PageText *script);
void page_end(FILE *f, const PageText *script);

/* A name or text from a file, escaped, with '?' for controls and what is no character. */
void page_text(FILE *f, const char *text);

/* A picture in the page itself, with a caption, which is text and `more` behind it. False: it can
 * not be encoded; a message has been printed. */
bool page_picture(FILE *f, const qonnx_picture *p, const char *caption, const char *more);

/* A table with a row for each of the tensor's channels, 1 or 3 of them along the axis 1 or 3. Axis
 * -1: a row for all elements. */
void page_channels(FILE *f, const qonnx_tensor *t, int axis, bool bgr);

#endif
