/* frontend/data/data.h - the inside of data sets: what an input wants, what files hold, and the
 * readers between the two. Everything here is a pure function of its arguments and the files.
 */
#ifndef FRONTEND_DATA_DATA_H
#define FRONTEND_DATA_DATA_H

#include "frontend/file.h"
#include "ir/arena.h"
#include <qonnx/run.h>
#include <stdatomic.h>

/* ---- what an input wants (feed.c) ------------------------------------------------------------ */

/* A graph input, as far as reading samples for it needs it. */
typedef struct Feed {
    char *name;                   /* of the input, owned by the data set */
    int slot;                     /* which graph input it is */
    qonnx_dtype dtype;            /* of the input */
    int rank;                     /* -1: unknown, every shape fits */
    int64_t dims[QONNX_MAX_RANK]; /* -1: symbolic, every size fits */
    qonnx_arrays arrays;          /* what an array is: see feed_fit */
    bool keyed;                   /* the model has other inputs: archives name them */
    const struct Preprocess *pictures; /* how they become samples, the data set's; NULL: default */
    struct Prepared *prepared; /* what that is for this input, from the first picture on; owned by
                                  the data set; NULL: worked out for each picture */
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

/* Elements in memory: the i-th starts at data + i * stride. Those of fewer than 8 bits are packed,
 * and have no stride. */
typedef struct Elements {
    const uint8_t *data; /* the first one */
    ptrdiff_t stride;    /* bytes */
    qonnx_dtype dtype;   /* of all */
    bool swap;           /* bytes are in the other order than little endian */
    bool codes;          /* they are the bits of what is wanted, whatever their own type says */
} Elements;

/* Whether values of `from` can be converted to the input's type: the types are the same, or both
 * are bool, integers or floats. */
bool convert_check(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from);

/* Writes n elements as `to` to dst, from its element `at` on, dense. Every value must be one of
 * that type, but floats are rounded to narrower ones; bool takes 0 and 1. Returns n, or the index
 * of the first element that does not fit. */
size_t convert_elements(Elements from, size_t n, qonnx_dtype to, void *dst, size_t at);

/* Fails because element `at` of the sample does not fit the input's type. */
bool convert_fail(qonnx_ctx *cx, const Feed *f, const char *path, qonnx_dtype from, size_t at);

/* ---- forms of files (forms.c) -------------------------------------------------------------- */

/* A form of files that hold samples. A new one is a row in forms.c. */
typedef struct Form {
    const char *endings; /* of names, each with a blank in front: " .npy"; NULL: of pictures */
    const char *many;    /* what several are called: "pictures" */
    bool single;         /* a file is one sample, always: it is not opened to count them */
    bool keyed;          /* a file may hold the samples of all inputs, each under its name */
    /* Whether the input can be fed from such files at all; NULL: always. `path` is for messages. */
    bool (*check)(qonnx_ctx *cx, const Feed *f, const char *path);
    /* The number of samples in a file, > 0; reads no more than it must. NULL where single. */
    bool (*count)(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count);
    /* Reads sample `row`. out->data is malloc'd, NULL on failure. */
    bool (*read)(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);
    /* Whether a file's bytes are to blame: see sample_damaged. NULL: they never are. */
    bool (*damaged)(qonnx_ctx *cx, const char *path, const FileMap *m);
    /* The whole file as one tensor of its own type; NULL: it is none. */
    bool (*load)(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *out);
    bool bundles; /* files may hold sequences and optionals, if that is wanted, and strings */
} Form;

/* The form of a file by its name's ending, in any case; NULL: it is not read. */
const Form *form_of(const char *name);
/* All forms, in order; NULL past the end. */
const Form *form_at(size_t i);
enum { ENDINGS_TEXT = 256 };
/* ".npy, .pb, .jpg": the endings that are read. */
const char *form_endings(char text[ENDINGS_TEXT]);

/* The number of samples of input `f` in a file. *damaged: it cannot be known, since the file is
 * damaged, and counts as 1; with NULL that is a failure. */
bool sample_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count, bool *damaged);
/* Whether a file that was not read cannot be: it is not there, empty, cut short or not what its
 * name says. One of another shape, size or type than is wanted is not damaged. */
bool sample_damaged(const char *path);
/* Reads sample `row` of the file. out->data is malloc'd, NULL on failure. */
bool sample_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);

/* A new malloc'd tensor for a sample of shape `fit`; its data is not initialised, but for bits that
 * no element has. */
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
bool npy_load(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *out);

bool pb_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);
/* The tensor in its own type, or the bundle that is wanted. */
bool pb_load(qonnx_ctx *cx, const char *path, qonnx_dtype want, qonnx_tensor *out);

bool npz_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count);
bool npz_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);
bool npz_damaged(qonnx_ctx *cx, const char *path, const FileMap *m);
/* Closes the archives that this thread keeps open; its end does so, too. */
void npz_close_all(void);

bool raw_check(qonnx_ctx *cx, const Feed *f, const char *path);
bool raw_count(qonnx_ctx *cx, const Feed *f, const char *path, size_t *count);
bool raw_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);

/* Whether pictures can be read for the input at all: its shape and type. */
bool image_check(qonnx_ctx *cx, const Feed *f, const char *path);
bool image_read(qonnx_ctx *cx, const Feed *f, const char *path, size_t row, qonnx_tensor *out);

/* ---- listing (list.c) ------------------------------------------------------------------------ */

/* One file of samples: small, for there may be millions. */
typedef struct SampleFile {
    const char *path;        /* to open; in the listing's arena */
    uint32_t prefix : 30;    /* bytes of the path in front of the name: "photos/" */
    uint32_t by_place : 1;   /* it goes with the files of other inputs by its place, not its name */
    uint32_t damaged : 1;    /* known to be, before it is read: it cannot say how much it holds */
    int32_t class_index;     /* of its folder among the class folders, or from labels; -1 unknown */
    size_t first;            /* index of its first sample; the next file's, less this: how many */
} SampleFile;

/* The name, relative to what was given: "cat/001.jpg"; and its length without the extension. */
static inline const char *file_name(const SampleFile *f) { return f->path + f->prefix; }
size_t file_stem(const SampleFile *f);

/* A folder whose samples are of one class. */
typedef struct ClassFolder {
    char *name;    /* without the root; owned */
    int place;     /* in the order in which they were found */
    size_t nfiles; /* files of samples in it, and below */
} ClassFolder;

/* Files that came from one directory, and are sorted. */
typedef struct Stretch {
    size_t first, end; /* of l->files */
} Stretch;

/* All files of samples of one input: what was given by several paths, in their order; the files of
 * a directory sorted by class, stem and name, bytewise, those of a list as they stand in it. */
typedef struct Listing {
    atomic_int users;     /* the data set, and the context whose inputs the files are */
    Arena *arena;         /* of the paths */
    char *root;           /* the first path that was given; NULL: none yet */
    bool single;          /* that is a file, and all there is */
    bool has_labels;      /* a labels.txt stands in it */
    SampleFile *files;    /* [nfiles] owned */
    size_t nfiles, room;  /* used, and allocated */
    size_t nsamples;      /* in all of them, once they are counted */
    Stretch *parts;       /* [nparts] those of directories; owned */
    size_t nparts;        /* used */
    ClassFolder *classes; /* [nclasses] in the order of the classes; owned */
    int nclasses;         /* 0: the samples do not stand in folders */
    char **folders;       /* [nfolders] in which what is added is read the next time; owned */
    size_t nfolders;      /* the directories that were given, and what links in them lead to */
} Listing;

Listing *listing_new(void);
Listing *listing_share(Listing *l);
/* Frees it with its last user. */
void listing_free(Listing *l);

/* Notes a path by which samples are given. */
void listing_root(Listing *l, const char *path);
/* Notes a folder in which whatever is put is read the next time. */
void listing_folder(Listing *l, const char *path);
/* Adds the file dir/name; "" for `dir`: the name alone. */
SampleFile *listing_add(Listing *l, const char *dir, const char *name, int class_index);
/* Notes that the files from `first` on come from one directory. */
void listing_part(Listing *l, size_t first);
/* Numbers the class folders and sorts what is to be, when all paths are read. */
void listing_finish(qonnx_ctx *cx, Listing *l);
/* Samples in file i, when they are counted. */
size_t listing_count(const Listing *l, size_t i);

/* Names in a directory, sorted bytewise, hidden ones left out. Links count as what they lead to. */
typedef struct Names {
    Arena *arena;            /* of the names */
    char **files;            /* [nfiles] regular files */
    char **folders;          /* [nfolders] directories */
    size_t nfiles, nfolders; /* lengths */
} Names;

/* Lists a directory (or nothing, for a file: *is_file). */
bool names_read(qonnx_ctx *cx, const char *path, bool *is_file, Names *out);
void names_free(Names *n);
bool has_name(char *const *names, size_t n, const char *name);

/* malloc'd "dir/name" and a copy of a string; "name" alone where `dir` is empty. */
char *path_join(const char *dir, const char *name);
char *string_copy(const char *s);

/* ---- files that are left out (skipped.c) ----------------------------------------------------- */

/* Files that are not read, by their endings. */
typedef struct Skipped {
    struct {
        char ending[12]; /* ".txt"; "": of all others */
        size_t count;    /* files */
    } kinds[24];         /* in the order in which they were met */
    int nkinds;          /* used */
    char *data;          /* the first that looks as if it held samples; owned */
} Skipped;

void skip_file(Skipped *s, const char *name);
/* Says what was skipped, once, and frees it. */
void skipped_tell(qonnx_ctx *cx, const char *root, Skipped *s);

/* ---- where samples come from ----------------------------------------------------------------- */

/* Adds the samples at `path` (walk.c): a file; or a directory with all below it, in which folders
 * of the first level are classes; or, as "@FILE" (lines.c), those that a list names. */
bool listing_read(qonnx_ctx *cx, const char *path, Listing *out);
/* Adds those of a directory, of which the names are known. */
bool listing_walk(qonnx_ctx *cx, const char *path, const Names *names, Listing *out);
/* Adds the files that a list names, a line each: PATH or PATH CLASS. "-" is standard input. */
bool listing_lines(qonnx_ctx *cx, const char *list, Listing *out);

/* ---- text files (lines.c) -------------------------------------------------------------------- */

/* A piece of a text. */
typedef struct Slice {
    const char *at; /* not ended by a NUL */
    size_t n;       /* bytes */
} Slice;

/* Without white space at both ends. */
Slice slice_trim(Slice s);
/* Cuts the next line off the text. */
Slice take_line(Slice *text);
/* Takes a mark of byte order off a text. */
void skip_mark(Slice *text);
/* Splits a line at its last separator, one of `separators`, where a number stands behind it: the
 * class; else class_index is -1. False where the number is too large. */
bool split_class(Slice line, const char *separators, Slice *file, int *class_index);

/* ---- samples by name (named.c) --------------------------------------------------------------- */

/* The files of a listing by name. */
typedef struct SampleNames {
    const Listing *l;     /* whose files they are */
    SampleFile **by_name; /* [l->nfiles] sorted by name */
    SampleFile **by_stem; /* [l->nfiles] sorted by name without extension */
} SampleNames;

void sample_names_init(SampleNames *s, const Listing *l);
void sample_names_free(SampleNames *s);
/* The file of that name; NULL: there is none. */
SampleFile *sample_named(const SampleNames *s, Slice name);
/* The first two files of that name without extension, NULL where there are no more; but for those
 * that are taken, by their places in the listing (NULL: none is). */
void sample_of_stem(const SampleNames *s, Slice stem, const bool *taken, SampleFile *found[2]);
/* A name without its extension. */
Slice cut_extension(Slice s);

/* ---- class folders (classes.c) --------------------------------------------------------------- */

/* A file in a class folder has this class until its folder has a number. */
enum { CLASS_PLACE = -2 }; /* less the folder's place */

/* Adds the class folder `name`, if it is new, and returns the class of files in it until then. */
int class_folder(Listing *l, const char *name);
/* Puts the folders in the order of their classes, those whose names are numbers by number, then the
 * others by name, and numbers the files' classes. Where only numbers hold samples, folders of other
 * names are no classes; where none does, no folder is. */
void classes_finish(qonnx_ctx *cx, Listing *l);

/* ---- data sets (dataset.c, find.c, labels.c) ------------------------------------------------- */

/* The feed of an input of the graph, and the file of its sample i; NULL: it is a constant. */
const Feed *dataset_feed(const qonnx_dataset *d, int input);
const char *dataset_file(const qonnx_dataset *d, size_t i, int input);
/* Whether sample i, which could not be read, has a file that is damaged. */
bool dataset_damaged(const qonnx_dataset *d, size_t i);
/* A hash of the list of samples, in order: names below the paths that were given, and sizes of
 * files. It is the same wherever the samples lie. */
void dataset_hash(const qonnx_dataset *d, uint8_t hash[16]);
/* The first sample that is known to be damaged before it is read. False: there is none. */
bool dataset_known_damaged(const qonnx_dataset *d, size_t *i);

struct qonnx_dataset {
    int ninputs;        /* of the graph, constants included */
    int nfeeds;         /* inputs that samples are read for */
    Feed *feeds;        /* [nfeeds] */
    Listing **listings; /* [nfeeds] their files */
    int lead;           /* the first feed whose files hold all samples: it gives the names */
    size_t all;         /* samples that the files hold */
    size_t count;       /* samples that there are, which a limit may make fewer */
    size_t *chosen;     /* [count] which of all, in order; NULL: spread evenly */
    size_t ndamaged;    /* files known to be damaged, of all inputs */
    char *labels;       /* the labels.txt in the directory that holds all samples; NULL: none */
    bool part;          /* of another data set, whose all but `chosen` is */
    bool labelled;      /* the classes are from a file of labels, not from folders */
    struct Preprocess *pictures; /* what is done to pictures; owned */
    char *origin;                /* whose word that is; NULL: nobody's */
    bool of_model;               /* a model's, which is not worth a line where it does nothing */
};

/* Decides what is done to pictures, for all feeds (prepared.c). */
bool dataset_prepare(qonnx_ctx *cx, qonnx_dataset *d, const qonnx_graph *g,
                     const qonnx_data_options *o);

/* Fills d->listings from the specs. */
bool dataset_find(qonnx_ctx *cx, qonnx_dataset *d, const char *const *specs, int nspecs);

/* Counts the samples of all inputs, and checks that they go together (joined.c). */
bool dataset_count(qonnx_ctx *cx, qonnx_dataset *d);

/* Checks that the files of all inputs have the same names, extensions apart, where they do not go
 * together by their places; a single file stands for itself. */
bool dataset_join(qonnx_ctx *cx, const qonnx_dataset *d);

#endif
