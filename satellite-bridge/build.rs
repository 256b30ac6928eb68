//! Links the program small.

fn main() {
    // A table of relocations a tenth as long: it is read whole at each start and stays in memory. glibc 2.36 or newer.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
