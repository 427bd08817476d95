/* frontend/data/preprocess_fields.h - the table of fields that a preprocessing has. What is read is
 * "HEAD{SETTING=VALUE,...}"; a field has functions for its head, settings are rows.
 */
#ifndef FRONTEND_DATA_PREPROCESS_FIELDS_H
#define FRONTEND_DATA_PREPROCESS_FIELDS_H

#include "frontend/data/preprocess.h"

enum { SIDE_MAX = 65535, VALUE_MAX = 256 };

/* A value that is being read. */
typedef struct Reader {
    qonnx_ctx *cx;
    const char *where; /* for messages: a file, or what the command line gave */
    const char *field; /* its name */
    const char *value; /* all of it */
    const char *wants; /* its grammar */
    Preprocess *to;
} Reader;

/* Fails: the value is not what its field wants. */
bool value_refuse(const Reader *r);

/* A text that is being made; what is too long is cut, which no value is. */
typedef struct Line {
    char text[2 * VALUE_MAX];
    size_t length;
} Line;

void line_add(Line *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The shortest decimal that reads back as the same number. */
void line_double(Line *t, double x);
void line_float(Line *t, float x);

/* The words of an enumeration; NULL past the last. */
typedef const char *WordFn(int i);

bool read_word(const char *text, WordFn *word, int *out);
bool read_int(const char *text, int least, int most, int *out);
/* A finite number, or two with a slash between: "1/255". */
bool read_number(const char *text, double *out);

/* What stands in braces behind a value. Enumerations and whole numbers are int in memory. */
typedef struct Setting {
    const char *name;     /* in front of '=' */
    WordFn *word;         /* of an enumeration; NULL: a number */
    size_t offset;        /* in Preprocess */
    int least, most;      /* of a whole number; both 0: it is a double, above 0 */
} Setting;

typedef struct Field {
    const char *name;                            /* in the text, in JSON, of the option */
    const char *wants;                           /* its grammar, for messages */
    size_t offset, bytes;                        /* of what it sets, in Preprocess */
    WordFn *word;                                /* it is one word, kept as bool or int; or NULL */
    bool (*read)(Reader *r, const char *head);   /* what stands before the braces */
    void (*print)(Line *t, const Preprocess *p); /* the same */
    const Setting *settings;                     /* in the braces; NULL: there are none */
} Field;

/* Field i; NULL past the last. */
const Field *field_at(int i);

#endif
