"""Rows: strings, and what looks into them."""

import numpy as np
from bad_inputs.sequences import tensor, written
from bad_inputs.table import row


def string_row(name, message, text, *values, **options):
    row(f"strings: {name}", message)(written(text, values, opset=20, **options))


def strings(*texts):
    return tensor(np.array(texts, object))


FORM = "g (string[N] x) => ({0}[M] y) {{ y = {1} }}"
for name, message, kind, body, texts in (
        ("numbers", r"cannot run operator Neg \(node '.*': input 0 is string\)", "string", "Neg(x)", ["1"]),
        ("compared by size", r"cannot run operator Less", "bool", "Less(x, x)", ["1"]),
        ("padded", r"cannot run operator Unique .*input 0 is string", "string", "Unique(x)", ["1"]),
        ("no number", r"\(Cast\): 'seven' is no number that float has", "float", "Cast <to = 1> (x)", ["7", "seven"]),
        ("half a number", r"\(Cast\): '12abc' is no number that float has", "float", "Cast <to = 1> (x)", ["12abc"]),
        ("too large a number", r"\(Cast\): '1e400' is no number that float has", "float", "Cast <to = 1> (x)", ["1e400"]),
        ("empty", r"\(Cast\): '' is no number that int64 has", "int64", "Cast <to = 7> (x)", [""]),
        ("no whole number", r"\(Cast\): '1e3' is no number that int64 has", "int64", "Cast <to = 7> (x)", ["1e3"]),
        ("a number behind the last", r"\(Cast\): '9223372036854775808' is no number that int64 has", "int64", "Cast <to = 7> (x)",
         ["9223372036854775808"]),
        ("a number that does not fit", r"\(Cast\): '-1' is no number that uint8 has", "uint8", "Cast <to = 2> (x)", ["-1"]),
        ("a NUL in a number", r"\(Cast\): '1' is no number that int64 has", "int64", "Cast <to = 7> (x)", ["1\x002"]),
        ("no action", r"case_change_action is \"Upper\", want LOWER, UPPER or NONE", "string",
         'StringNormalizer <case_change_action = "Upper"> (x)', ["a"]),
        ("a letter of no case known", r"'ա': whether the character U\+0561 has another case is not known here", "string",
         'StringNormalizer <case_change_action = "UPPER", is_case_sensitive = 1> (x)', ["ա"]),
        *((f"pattern {pattern}", rf"\(RegexFullMatch\): its pattern '.*' cannot be matched: .*{why}", "bool",
           f'RegexFullMatch <pattern = "{pattern}"> (x)', ["a"])
          for pattern, why in (("a(b", r"a \( is not closed"), ("a)", r"a \) has no \("), ("[a", r"a \[ is not closed"), ("*a", "nothing to repeat"),
                               ("a**", "two repetitions"), ("a{2}{3}", "two repetitions"), ("a{1001}", "out of range"), ("a{3,2}", "out of range"),
                               ("(?i)a", r"\(\?\.\.\.\) is only known"), ("(?=a)", r"\(\?\.\.\.\) is only known"), ("[b-a]", "a range"),
                               ("[[:no:]]", "a class"), ("((a{100}){100}){100}", "more than 10000 states"), ("(((){1000}){1000}){1000}", "more than 10000 states"),
                               ("(" * 200, "more than 100 deep"))),
        *((f"vectorizer, {what}", why, "float", f"TfIdfVectorizer <{attributes}> (x)", ["a"])
          for what, why, attributes in (
              ("mode", r'mode is "TFF"', 'mode = "TFF"'),
              ("lengths", "are none", 'mode = "TF", min_gram_length = 2, max_gram_length = 1, max_skip_count = 0'),
              ("pool of numbers", "input 0 is string, and its pool is of integers", 'mode = "TF", min_gram_length = 1, max_gram_length = 1, '
               'max_skip_count = 0, ngram_counts = [0], ngram_indexes = [0], pool_int64s = [7]'),
              ("counts", "does not fit a pool of 1 words", 'mode = "TF", min_gram_length = 1, max_gram_length = 2, '
               'max_skip_count = 0, ngram_counts = [0, 5], ngram_indexes = [0], pool_strings = ["a"]'),
              ("half an n-gram", "does not fit a pool of 2 words", 'mode = "TF", min_gram_length = 1, max_gram_length = 2, '
               'max_skip_count = 0, ngram_counts = [0, 1], ngram_indexes = [0], pool_strings = ["a", "b"]'),
              ("indexes", "ngram_indexes has 2 numbers, the pool 1 n-grams", 'mode = "TF", min_gram_length = 1, max_gram_length = 1, '
               'max_skip_count = 0, ngram_counts = [0], ngram_indexes = [0, 1], pool_strings = ["a"]'),
              ("an index below 0", r"ngram_indexes\[0\] is -1", 'mode = "TF", min_gram_length = 1, max_gram_length = 1, '
               'max_skip_count = 0, ngram_counts = [0], ngram_indexes = [-1], pool_strings = ["a"]'),
              ("twice", "its pool has an n-gram twice", 'mode = "TF", min_gram_length = 1, max_gram_length = 1, '
               'max_skip_count = 0, ngram_counts = [0], ngram_indexes = [0, 1], pool_strings = ["a", "a"]'),
              ("far too many outputs", r"of memory", 'mode = "TF", min_gram_length = 1, max_gram_length = 1, '
               'max_skip_count = 0, ngram_counts = [0], ngram_indexes = [2000000000], pool_strings = ["a"]')))):
    string_row(name, message, FORM.format(kind, body.replace("\\", "\\\\")), strings(*texts))

string_row("of two shapes", r"\(StringConcat\): .*broadcast", "g (string[N] x, string[M] y) => (string[K] z) { z = StringConcat(x, y) }",
           strings("a", "b"), strings("a", "b", "c"))
string_row("not in the file", r"input 'x' is string, the sample is float", "g (string[N] x) => (string[N] y) { y = Identity(x) }",
           tensor(np.float32([1])))
string_row("that double", r"(takes .* of memory, most of it for what 0 turns|--max-memory allows)",
           """g (string[N] x) => (string[N] y) { most = Constant <value_int = 40> ()
              y = Loop (most, , x) <body = b (int64 i, bool go, string[A] s) => (bool go, string[B] t) { t = StringConcat(s, s) }> }""",
           strings("a" * 1000), options=["--max-memory", "64M"])
string_row("a pattern for a long text", r"has not ended|steps", 'g (string[N] x) => (bool[N] y) { y = RegexFullMatch <pattern = "(a|b|ab){0,900}c"> (x) }',
           strings("ab" * (1 << 22)))


@row("strings: samples that are arrays", r"x\.npy: string is read from \.pb files only")
def arrays(folder):
    make = written("g (string[N] x) => (string[N] y) { y = Identity(x) }", [])(folder)
    np.save(folder / "x.npy", np.float32([1]))
    return ["run", make[1], "--data", folder / "x.npy"]
