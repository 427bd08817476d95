/* backends/c/sources.h - the kernels' own source text inside the library: tools/embed.c writes it
 * when the library is built. What generated code needs to know of a kernel is read from that text.
 */
#ifndef BACKENDS_C_SOURCES_H
#define BACKENDS_C_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

/* A header, without its includes of other kernel headers and without its `static inline` functions,
 * which pack weights and run on the host alone. */
typedef struct Source {
    const char *name;          /* "f_conv.h" */
    const unsigned char *text; /* [bytes] */
    size_t bytes;              /* length of text */
    const char *const *needs;  /* the headers it includes, in order; ends with NULL */
} Source;

/* What a kernel's function takes. */
typedef struct Prototype {
    const char *kernel;       /* "f_conv" */
    const char *source;       /* the header that defines it */
    const char *params;       /* type of the parameter struct behind its first argument */
    const char *const *types; /* what the other arguments point to: "float"; ends with NULL */
    bool contracts;           /* its bytes need -ffp-contract=off */
} Prototype;

/* The fields of a parameter struct: int32_t first, then float. */
typedef struct Fields {
    const char *params;       /* "f_conv_p" */
    const char *const *names; /* ends with NULL */
} Fields;

/* All end with a NULL name. */
extern const Source kernel_sources[];
extern const Prototype kernel_prototypes[];
extern const Fields kernel_fields[];

#endif
