// SPDX-License-Identifier: MIT
// Build tool: file_to_c IN OUT NAME writes the bytes of IN as `const unsigned char NAME[]` and `const size_t
// NAME_size`.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    FILE *in = argc == 4 ? fopen(argv[1], "rb") : NULL;
    FILE *out = in ? fopen(argv[2], "wb") : NULL;
    if (!out) {
        fprintf(stderr, "file_to_c: cannot open input or output\n");
        return 1;
    }
    fprintf(out, "#include <stddef.h>\nextern const unsigned char %s[];\nextern const size_t %s_size;\n", argv[3],
            argv[3]);
    fprintf(out, "const unsigned char %s[] = {", argv[3]);
    size_t n = 0;
    for (int c; (c = getc(in)) != EOF; n++)
        fprintf(out, "%s%d,", n % 32 == 0 ? "\n" : "", c);
    fprintf(out, "0};\nconst size_t %s_size = %zu;\n", argv[3], n);
    if (ferror(in) || fclose(out) != 0)
        return 1;
    fclose(in);
    return 0;
}
