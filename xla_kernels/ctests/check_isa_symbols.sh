#!/usr/bin/env bash
# check_isa_symbols.sh OBJECT...: the leaf loops compiled for AVX must define no weak symbol.
#
# A weak definition (an inline function or template that was not inlined, from std:: or from our own headers) may be the
# one copy that the linker keeps for the whole module. Compiled with -mavx512f it would then run on every processor and
# die with SIGILL on older ones. Weak symbols whose name carries the instruction set (a namespace avx2 or avx512) are
# ours alone and pass.
set -euo pipefail

checked=0
failed=0
for object in "$@"; do
  case "$(basename "$object")" in
    *avx2*) own='avx2' ;;
    *avx512*) own='avx512' ;;
    *) continue ;;
  esac
  checked=$((checked + 1))
  # W/V: weak and defined; u: unique global (inline variables, statics of inline functions). 'w'/'v' are undefined.
  weak=$(nm --defined-only "$object" | awk '$(NF-1) ~ /^[WVu]$/ { print $NF }' | c++filt | grep -v -w -- "$own" |
    grep -v '^DW\.ref\.' || true)
  if [[ -n "$weak" ]]; then
    failed=1
    echo "$(basename "$object") defines weak symbols that other objects may share:" >&2
    sed 's/^/  /' <<<"$weak" >&2
  fi
done
if ((failed)); then
  echo "Inline them (JAXSPARSE headers: put them in an instruction set's namespace) or avoid them in lanes_*.cc." >&2
  exit 1
fi
echo "$checked instruction-set objects checked, no shared weak symbol"
