#!/usr/bin/env bash
# check_isa_symbols_selftest.sh COMPILER: the check must refuse a planted weak std:: symbol and pass a clean file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/lanes_avx2.cc" <<'CC'
#include <vector>
void Grow(std::vector<int>& v) { v.push_back(1); }
CC
"$1" -std=c++17 -O0 -c "$work/lanes_avx2.cc" -o "$work/lanes_avx2.o"
if bash "$here/check_isa_symbols.sh" "$work/lanes_avx2.o" >/dev/null 2>&1; then
  echo "a weak std::vector member went unnoticed" >&2
  exit 1
fi

cat >"$work/lanes_avx2.cc" <<'CC'
namespace lanes { namespace avx2 {
template <class T> T Twice(T x) { return x + x; }
template float Twice<float>(float);
}}
void Add(float* x) { x[0] += 1; }
CC
"$1" -std=c++17 -O0 -c "$work/lanes_avx2.cc" -o "$work/lanes_avx2.o"
bash "$here/check_isa_symbols.sh" "$work/lanes_avx2.o"
