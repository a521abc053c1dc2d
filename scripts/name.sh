#!/bin/sh
# Prints the name of the service: its package's, which is the program's and the image's too.
sed -n 's/^name = "\(.*\)"$/\1/p' "$(dirname "$0")/../service/Cargo.toml" | head -n 1
