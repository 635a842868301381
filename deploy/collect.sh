#!/bin/sh
# Copies a program, the libraries that it is linked with, and the few files of a system that they read, into a folder that
# becomes the root of an image. Runs in Debian, where the libraries belong to packages.
set -eu
program=$1 root=$2
mkdir -p "$root/etc/ssl/certs" "$root/usr/local/bin" "$root/usr/lib/ssl" "$root/var/lib/dpkg/status.d"
mkdir -m 1777 -p "$root/tmp"
cp "$program" "$root/usr/local/bin/tidemill"

# Each line of ldd is `name => path (address)`, or `path (address)` for the loader.
libraries=$(ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }')
case $(ldd "$program") in *'not found'*) ldd "$program" >&2; exit 1 ;; esac
for library in $libraries; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/ssl/openssl.cnf "$root/etc/ssl/"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/nonexistent\ntidemill:x:10001:10001:tidemill:/data:/nonexistent\n' > "$root/etc/passwd"
printf 'root:x:0:\ntidemill:x:10001:\n' > "$root/etc/group"
cp /etc/os-release "$root/etc/os-release"

packages=$(for library in $libraries; do
  dpkg-query -S "$(readlink -f "$library")" "$library" "/usr$library" 2> /dev/null | cut -d : -f 1 | head -n 1
done | sort -u)
for package in $packages ca-certificates base-files; do
  dpkg-query -s "$package" > "$root/var/lib/dpkg/status.d/$package"
done
