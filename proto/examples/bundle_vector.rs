//! Writes the published test vector of the bundle format to `testdata/`, with a new key that is then forgotten.
#![expect(
    clippy::disallowed_methods,
    reason = "a developer's tool that writes two files beside its source"
)]

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use satellite_proto::bundle::{BundleReader, Digest, KeyPair, Manifest, Recipe, SecretKey, build};

const RECIPE: &str = r#"
workload = "echo"
version = "1.2.3"
channel = "stable"
release = 7
architecture = "x86_64"
least_bridge = "0.1.0"
api = ["example.echo.v1"]
[unit]
exec = "bin/echo"
[health]
start_seconds = 30
settle_seconds = 1
"#;

fn main() -> anyhow::Result<()> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("bin"))?;
    let program = dir.path().join("bin/echo");
    std::fs::write(&program, "#!/bin/sh\n".repeat(20_000))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(dir.path().join("README"), "an example\n")?;
    let pair = KeyPair::generate(None)?;
    let key = SecretKey::from_file_text(&pair.secret_file, None)?;
    let mut bytes = Vec::new();
    let digest = build(&Recipe::from_toml(RECIPE)?, dir.path(), &[key], &mut bytes)?;
    let reader = BundleReader::open(Cursor::new(&bytes))?;
    let manifest = Manifest::parse(reader.manifest_bytes())?;
    let mut files = Vec::new();
    for file in &manifest.files {
        let content = std::fs::read(dir.path().join(&file.path))?;
        let (path, mode) = (&file.path, format!("{:o}", file.mode));
        files.push(
            serde_json::json!({ "path": path, "mode": mode, "sha256": Digest::of(&content).to_string() }),
        );
    }
    let expected = serde_json::json!({
        "description": "echo-1.2.3.bundle: what a reader of docs/bundle.md must find in it",
        "public_key": pair.public_key, "manifest_digest": digest.to_string(), "files": files,
    });
    std::fs::write(out.join("echo-1.2.3.bundle"), bytes)?;
    std::fs::write(out.join("bundle.json"), format!("{expected:#}\n"))?;
    Ok(())
}
