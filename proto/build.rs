//! Generates the wire types from `satellite/`, without protoc.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=satellite");
    let mut files = Vec::new();
    for package in ["bridge", "backup", "join", "management"] {
        let dir = Path::new("satellite").join(package).join("v1");
        for entry in std::fs::read_dir(dir)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut file = std::fs::File::create(out.join("descriptors.bin"))?;
    std::io::Write::write_all(&mut file, &prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".")
        // Printed by hand, without what is in it: see `wire.rs`.
        .skip_debug([".satellite.backup.v1.Secret"])
        .build_client(true)
        .build_server(true)
        .compile_fds(descriptors)?;
    Ok(())
}
