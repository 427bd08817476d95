/* frontend/data/data.h - the inside of data sets: what an input wants, what files hold, and the
 * readers between the two. Everything here is a pure function of its arguments and the files.
 */
#ifndef FRONTEND_DATA_DATA_H
#define FRONTEND_DATA_DATA_H

#include <qonnx/run.h>
#include "frontend/file.h"

/* ---- what an input wants (feed.c) ------------------------------------------------------------ */

/* A graph input, as far as reading samples for it needs it. */
typedef struct Feed {
    char *name;                   /* of the input, owned by the data set */
    int slot;                     /* which graph input it is */
    qonnx_dtype dtype;            /* of the input */
    int rank;                     /* -1: unknown, every shape fits */
    int64_t dims[QONNX_MAX_RANK]; /* -1: symbolic, every size fits */
} Feed;

/* How the array in a file becomes samples of an input. */
typedef struct Fit {
    size_t count;                 /* samples in the file, > 0 */
    bool split;                   /* the file's first axis counts the samples */
    int rank;                     /* of one sample */
    int64_t dims[QONNX_MAX_RANK]; /* of one sample */
} Fit;

/* Longest text of shape_text. */
enum { SHAPE_TEXT = 24 * QONNX_MAX_RANK };

/* "[1,3,?,?]" of dims[0..rank), ? for -1; "[any]" for rank -1. Returns `text`. */
const char *shape_text(int rank, const int64_t *dims, char text[SHAPE_TEXT]);

/* Fits an array of shape dims[0..rank) to the input. With `rows` the array may hold several
 * samples: [N, rest] for an input [1, rest] or [symbol, rest] gives N samples [1, rest]; for an
 * input [rest], N samples [rest]; for an input [B, rest] with B fixed and not N, N samples
 * [1, rest]. A missing batch axis is added. A shape that fits as it is and whose first axis is not
 * a batch is one sample. */
bool feed_fit(qonnx_ctx *cx, const Feed *f, const char *path, const int64_t *dims, int rank,
              bool rows, Fit *out);

/* ---- element types (convert.c) --------------------------------------------------------------- */

/* Elements in memory: the i-th starts at data + i * stride. */
typedef struct Elements {
    const uint8_t *data; /* the first one */
    ptrdiff_t stride;    /* bytes */
    qonnx_dtype dtype;   /* of all */
    bool swap;           /* bytes are in the other order than little endian */
} Elements;

/* Whether values of `from` can be converted to the input's type: the types are the same, or both
 * are bool, integers or float types of 16 bits or more. */
bool convert_check(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from);

/* Writes n elements as `to` to dst, dense. Every value must be represented exactly, except that
 * floats are rounded to narrower ones; bool takes 0 and 1. Returns n, or the index of the first
 * element that does not fit. */
size_t convert_elements(Elements from, size_t n, qonnx_dtype to, void *dst);

/* Fails because element `at` of the sample does not fit the input's type. */
bool convert_fail(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from, size_t at);

/* ---- readers --------------------------------------------------------------------------------- */

typedef enum Kind { KIND_OTHER, KIND_NPY, KIND_IMAGE, KIND_PB } Kind;

/* By the name's extension, in any case. */
Kind kind_of(const char *name);

/* The number of samples of input `f` in a file; reads no more than its header. *damaged: it cannot
 * be known, since the file is damaged, and counts as 1; with NULL that is a failure. */
bool sample_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count, bool *damaged);
/* Whether a file that was not read cannot be: it is empty, cut short or not what its name says. One
 * of another shape, size or type than is wanted is not damaged. */
bool sample_damaged(const char *path);
/* Reads sample `row` of the file. out->data is malloc'd, NULL on failure. */
bool sample_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);

/* A new malloc'd tensor for a sample of shape `fit`; its data is not initialised. */
bool sample_new(qonnx_ctx *cx, const Feed *f, const char *path, const Fit *fit, qonnx_tensor *out);

/* Whether a file's bytes make no array, message, picture: see sample_damaged. */
bool npy_damaged(qonnx_ctx *cx, const char *path, const FileMap *m);
bool pb_damaged(qonnx_ctx *cx, const char *path, const FileMap *m);
bool image_damaged(qonnx_ctx *cx, const char *path, const FileMap *m);

/* The shape of the array in a file. False: the file holds none. */
bool npy_shape(const char *path, int *rank, int64_t dims[QONNX_MAX_RANK]);
bool npy_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count);
bool npy_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);
/* The whole array, in the file's own type. */
bool npy_load(qonnx_ctx *cx, const char *path, qonnx_tensor *out);

bool pb_read(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_tensor *out);
/* The tensor in its own type. */
bool pb_load(qonnx_ctx *cx, const char *path, qonnx_tensor *out);

/* Whether pictures can be read for the input at all: its shape and type. */
bool image_check(qonnx_ctx *cx, const Feed *f, const char *path);
bool image_read(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_tensor *out);

/* ---- listing (list.c) ------------------------------------------------------------------------ */

/* One file of samples. */
typedef struct SampleFile {
    char *path;       /* to open; the root, '/', and the rest */
    const char *name; /* in path: relative to the root; "cat/001.jpg" */
    size_t stem;      /* length of the name without its extension */
    int class_index;  /* of its folder among the class folders, or from labels; -1 unknown */
    size_t first;     /* index of its first sample */
    size_t count;     /* samples in it */
    bool damaged;     /* known to be, before it is read: it cannot say how many samples it holds */
} SampleFile;

/* Names in a directory, sorted bytewise, hidden ones left out. */
typedef struct Names {
    char **files;            /* regular files */
    char **folders;          /* directories */
    size_t nfiles, nfolders; /* lengths */
} Names;

/* A folder whose samples are of one class. */
typedef struct ClassFolder {
    char *name;    /* without the root; owned */
    Names names;   /* what is in it, while it is being read */
    size_t nfiles; /* files of samples in it */
} ClassFolder;

/* All files of samples of one input, sorted by class, stem and name, bytewise. */
typedef struct Listing {
    char *root;           /* the path that was given */
    bool single;          /* the path is a file */
    bool has_labels;      /* a labels.txt stands in it */
    SampleFile *files;    /* owned */
    size_t nfiles, cap;   /* used, and room */
    ClassFolder *classes; /* [nclasses] in the order of the classes; owned */
    int nclasses;         /* 0: the samples do not stand in folders */
} Listing;

/* Lists a directory (or nothing, for a file: *is_file). Symbolic links are followed. */
bool names_read(qonnx_ctx *cx, const char *path, bool *is_file, Names *out);
void names_free(Names *n);
bool has_name(char *const *names, size_t n, const char *name);

/* The samples at `path`: a file, a directory of files, or of one folder a class. */
bool listing_read(qonnx_ctx *cx, const char *path, Listing *out);
/* Adds root/name to the listing. */
void listing_add(Listing *l, const char *root, const char *name, int class_index);
void listing_free(Listing *l);

/* ---- class folders (classes.c) --------------------------------------------------------------- */

/* Reads the folders `root` of the directory l->root into l->classes, in the order of their classes:
 * those whose names are numbers by number, then the others by name. Where only numbers hold
 * samples, folders of other names are no classes. */
bool classes_read(qonnx_ctx *cx, const Names *root, Listing *l);
void class_folder_free(ClassFolder *c);

/* malloc'd "dir/name" and a copy of a string. */
char *path_join(const char *dir, const char *name);
char *string_copy(const char *s);

/* ---- data sets (dataset.c, find.c, labels.c) ------------------------------------------------- */

/* Whether sample i, which could not be read, has a file that is damaged. */
bool dataset_damaged(const qonnx_dataset *d, size_t i);
/* A hash of the list of samples, in order: names below the paths that were given, and sizes of
 * files. It is the same wherever the samples lie. */
void dataset_hash(const qonnx_dataset *d, uint8_t hash[16]);
/* The first sample that is known to be damaged before it is read. False: there is none. */
bool dataset_known_damaged(const qonnx_dataset *d, size_t *i);

struct qonnx_dataset {
    int ninputs;       /* of the graph, constants included */
    int nfeeds;        /* inputs that samples are read for */
    Feed *feeds;       /* [nfeeds] */
    Listing *listings; /* [nfeeds] their files */
    int lead;          /* the first feed whose files hold all `count` samples: it gives the names */
    size_t count;      /* samples */
    size_t all;        /* samples that the files hold; more than `count` when limited */
    size_t ndamaged;   /* files known to be damaged, of all inputs */
    char *labels;      /* the labels.txt in the directory that holds all samples; NULL: none */
    bool labelled;     /* the classes are from a file of labels, not from folders */
};

/* Fills d->listings from the specs. */
bool dataset_find(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs);

/* Checks that every directory of the data set holds the same names, extensions apart; a single file
 * stands for itself. */
bool dataset_join(qonnx_ctx *cx, const qonnx_dataset *d);

#endif
