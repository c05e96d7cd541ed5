#!/bin/sh
# Builds llama.cpp's server once, for machines whose system has no package of it:
#   sh packaging/llama-server.sh FOLDER
# leaves FOLDER/llama-server, a single file of 12 MB. Needs a C++ compiler, cmake and pip; takes
# about fifteen minutes on two cores. The source is what llama-cpp-python 0.3.36 carries, the
# version that the golden files in tests/data/engines name.
set -eu
folder=${1:?name a folder for llama-server}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d "$folder/build.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

cd "$work"
python3 -m pip download --quiet --no-deps --no-binary llama-cpp-python \
    "llama-cpp-python==0.3.36"
tar xzf llama_cpp_python-0.3.36.tar.gz
# without the two UI options it would download a web page and build it in
# shellcheck disable=SC2086  # several flags, maybe
cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B build \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE="${NATIVE:-OFF}" \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF ${CMAKE_FLAGS:-}
cmake --build build --target llama-server --parallel "${JOBS:-2}"
strip build/bin/llama-server
mv build/bin/llama-server "$folder/llama-server"
"$folder/llama-server" --version
