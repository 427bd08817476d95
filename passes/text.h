/* passes/text.h - the grammar of a pipeline's text. run.h says what it is; the command reads it by
 * the two functions that are exported there, and nothing else knows it.
 */
#ifndef PASSES_TEXT_H
#define PASSES_TEXT_H

#include <qonnx/run.h>

/* `name=value` as given, without quotes. */
typedef struct Setting {
    const char *name, *value;
} Setting;

enum { MAX_SETTINGS = 16 };

/* "NAME{OPTION=VALUE,...}" taken apart. */
typedef struct Item {
    char *text;                     /* owned; what the others point into */
    const char *name;               /* of the pass or observer; "" when the text is blank */
    Setting settings[MAX_SETTINGS]; /* in order */
    int nsetting;                   /* of them */
    bool blank;                     /* nothing is there */
} Item;

/* Takes the first `length` bytes of the text apart. On failure the message quotes them. `item` is
 * freed by item_free(), failure or not. */
QONNX_CHECKED bool item_parse(qonnx_ctx *cx, const char *text, size_t length, Item *item);
void item_free(Item *item);

/* The value that the item gives an option; NULL when it gives none. The last one counts. */
const char *item_setting(const Item *item, const char *option);

#endif
