// SPDX-License-Identifier: MIT
// Versions of the libraries as loaded, for vicha doctor; each function lives in the library's home. Threads: any.
#pragma once

const char *extract_vips_version(void);    // "8.14.1"
const char *extract_curl_version(void);    // "7.88.1"
const char *extract_curl_http2(void);      // "yes", or why not
const char *extract_archive_version(void); // "3.6.2"
