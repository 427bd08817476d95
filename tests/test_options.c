/* tests/test_options.c - the command line of a verb with more options than any has: all of them are
 * in its help and are read.
 */
#include "cli/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MANY = 60 };

const Verb *const verbs[] = {NULL};

static char names[MANY][16];
static Option options[MANY + 1];
static const Verb verb = {.name = "many",
                          .brief = "",
                          .forms = "",
                          .text = "",
                          .examples = "",
                          .options = options,
                          .samples = true,
                          .json = true,
                          .plugins = true,
                          .most = -1};

static int make_options(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "option-%d", i);
        options[i] = (Option){names[i], 0,   OPTION_FLAG, i == MANY - 1 ? offsetof(Args, check)
                                                                        : offsetof(Args, compiled),
                              NULL,     NULL, "what it does"};
    }
    return 0;
}

static void test_help(void **state)
{
    char *text = NULL;
    size_t size = 0, rows = 0;
    (void)state;
    FILE *f = open_memstream(&text, &size);
    options_help(&verb, f);
    fclose(f);
    for (const char *at = text; (at = strstr(at, "--option-")); at++) rows++;
    assert_int_equal(rows, MANY);
    assert_non_null(strstr(text, "--option-59 "));
    assert_non_null(strstr(text, "-q, --quiet"));
    assert_non_null(strstr(text, "-v, --verbose"));
    assert_non_null(strstr(text, "-h, --help"));
    free(text);
}

static void test_parse(void **state)
{
    char *argv[] = {"many", "--option-59", "-q", "-j", "3", "m.onnx", NULL};
    Args args;
    (void)state;
    assert_int_equal(options_parse(&verb, 6, argv, &args), -1);
    assert_true(args.check && args.quiet && !args.compiled);
    assert_int_equal(args.jobs, 3);
    assert_int_equal(args.noperand, 1);
    options_release(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, make_options, NULL);
}
