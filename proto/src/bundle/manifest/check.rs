//! Every rule that a manifest must keep.

use super::*;

const FILES_MOST: usize = 10_000;
const CHUNKS_MOST: usize = 16_384;
const RULES_MOST: usize = 64;
const LIST_MOST: usize = 64;
const TEXT_MOST: usize = 1024;
const PATH_MOST: usize = 512;
const PART_MOST: usize = 200;

type Check = Result<(), String>;

pub(super) fn is_name(text: &str) -> bool {
    let fits = (1..=63).contains(&text.len());
    let clean = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits && clean
}

pub(super) fn manifest(manifest: &Manifest) -> Check {
    if manifest.format != FORMAT {
        return Err(format!(
            "format {} is not known here, only {FORMAT}",
            manifest.format
        ));
    }
    if !is_name(&manifest.channel) {
        return Err("`channel` is not a name".to_owned());
    }
    if manifest.release == 0 {
        return Err("`release` is 0".to_owned());
    }
    let architecture = &manifest.architecture;
    let plain = architecture
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if architecture.is_empty() || architecture.len() > 32 || !plain {
        return Err("`architecture` is not one".to_owned());
    }
    health(&manifest.health)?;
    if let Some(kind) = &manifest.kind {
        base(manifest, kind)?;
        chunks(&manifest.chunks)?;
        return files(manifest);
    }
    if manifest.workload.is_base() {
        let name = &manifest.workload;
        return Err(format!(
            "`{name}` is a part of the satellite itself, not the name of a workload"
        ));
    }
    unit(&manifest.unit)?;
    api(&manifest.api)?;
    rules(&manifest.firewall)?;
    paths("state.snapshot", &manifest.state.snapshot)?;
    paths("logs", &manifest.logs)?;
    chunks(&manifest.chunks)?;
    files(manifest)?;
    let asked = manifest.health.command.as_ref().map(|command| &command.exec);
    [Some(&manifest.unit.exec), asked]
        .into_iter()
        .flatten()
        .try_for_each(|exec| program(manifest, exec))
}

/// A part of the satellite itself: its files and nothing else that a workload may have.
fn base(manifest: &Manifest, kind: &Kind) -> Check {
    if manifest.workload.as_str() != kind.name() {
        return Err(format!("`workload` must be `{}` for this kind", kind.name()));
    }
    let asks = &manifest.health;
    let gate = asks.silent || asks.grpc.is_some() || asks.tcp.is_some() || asks.http.is_some();
    let plain = manifest.unit.is_none() && manifest.api.is_empty() && manifest.firewall.is_empty();
    let stateless = manifest.state == State::default() && manifest.logs.is_empty();
    if gate || asks.command.is_some() || !plain || !stateless {
        return Err(format!(
            "`{}` can declare nothing but a time to be healthy",
            kind.name()
        ));
    }
    if !manifest.version.pre.is_empty() || !manifest.version.build.is_empty() {
        return Err("`version` of a part of the satellite has three numbers and no more".to_owned());
    }
    let wanted: &[(&str, u32)] = match kind {
        Kind::Bridge => &[(BRIDGE_FILE, 0o755)],
        Kind::System { slot } => {
            let hash = slot.strip_prefix("root-").unwrap_or_default();
            let is_hash = hash.len() == 16 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hash {
                return Err("`kind.system.slot` is not `root-` with 16 hexadecimal digits".to_owned());
            }
            &[(KERNEL_FILE, 0o644), (ROOT_FILE, 0o644)]
        }
    };
    let found = manifest.files.iter().map(|file| (file.path.as_str(), file.mode));
    if found.eq(wanted.iter().copied()) {
        Ok(())
    } else {
        Err(format!(
            "`{}` does not consist of the files that it must",
            kind.name()
        ))
    }
}

fn program(manifest: &Manifest, exec: &str) -> Check {
    match manifest.files.iter().find(|file| file.path == exec) {
        Some(file) if file.mode == 0o755 => Ok(()),
        Some(_) => Err(format!("`{exec}` is to be started and is not executable")),
        None => Err(format!("`{exec}` is to be started and is not in the payload")),
    }
}

fn unit(unit: &Unit) -> Check {
    path("unit.exec", &unit.exec)?;
    if unit.environment.len() > LIST_MOST {
        return Err(format!("`unit` has more than {LIST_MOST} variables"));
    }
    words("unit.args", &unit.args)?;
    words("unit.environment", unit.environment.values())?;
    for name in unit.environment.keys() {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let begins = name.starts_with(|c: char| c.is_ascii_uppercase());
        let ours = ["SATELLITE_", "LD_", "NOTIFY_", "CREDENTIALS_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if !plain || !begins || ours || name.len() > 64 {
            return Err(format!("`unit.environment` must not set `{name}`"));
        }
    }
    match unit.memory_max {
        Some(bytes) if bytes < 8 * 1024 * 1024 => Err("`unit.memory_max` is below 8 MiB".to_owned()),
        _ => Ok(()),
    }
}

fn words<'t>(what: &str, words: impl IntoIterator<Item = &'t String>) -> Check {
    for (number, text) in words.into_iter().enumerate() {
        if number >= LIST_MOST {
            return Err(format!("`{what}` has more than {LIST_MOST} words"));
        }
        if text.len() > TEXT_MOST || text.chars().any(char::is_control) {
            return Err(format!("`{what}` has a word that is too long or not printable"));
        }
    }
    Ok(())
}

fn health(health: &Health) -> Check {
    if !(1..=600).contains(&health.start_seconds) {
        return Err("`health.start_seconds` is not within 1 to 600".to_owned());
    }
    if health.settle_seconds > 60 || health.settle_seconds >= health.start_seconds {
        return Err("`health.settle_seconds` is above 60, or not below `start_seconds`".to_owned());
    }
    if health.tcp == Some(0) || health.http.as_ref().is_some_and(|http| http.port == 0) {
        return Err("`health` has the port 0".to_owned());
    }
    if let Some(http) = &health.http {
        let plain = http.path.bytes().all(|b| b.is_ascii_graphic());
        if !plain || !http.path.starts_with('/') || http.path.len() > PATH_MOST {
            return Err("`health.http.path` is not a path".to_owned());
        }
    }
    if let Some(command) = &health.command {
        path("health.command.exec", &command.exec)?;
        words("health.command.args", &command.args)?;
    }
    match &health.grpc {
        Some(service) if service.len() > 128 || !service.bytes().all(is_service_byte) => {
            Err("`health.grpc` is not the name of a service".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_service_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'.' || b == b'_'
}

fn api(packages: &[String]) -> Check {
    if packages.len() > 8 {
        return Err("`api` has more than 8 packages".to_owned());
    }
    let mut seen = BTreeSet::new();
    for package in packages {
        let plain = package
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'_');
        let fits = (3..=100).contains(&package.len()) && package.contains('.') && !package.contains("..");
        let ends = !package.starts_with('.') && !package.ends_with('.');
        if !plain || !fits || !ends || !seen.insert(package) {
            return Err(format!(
                "`api` has `{package}`, which is not a package or is there twice"
            ));
        }
        let ours = ["satellite.bridge", "satellite.management", "grpc"];
        if ours
            .iter()
            .any(|p| package == p || package.starts_with(&format!("{p}.")))
        {
            return Err(format!(
                "`api` has `{package}`, which is not a workload's to serve"
            ));
        }
    }
    Ok(())
}

fn rules(rules: &[ManifestRule]) -> Check {
    if rules.len() > RULES_MOST {
        return Err(format!("`firewall` has more than {RULES_MOST} rules"));
    }
    let mut seen = BTreeSet::new();
    for rule in rules {
        if !is_name(&rule.name) || !seen.insert(&rule.name) {
            return Err(format!(
                "the firewall rule `{}` has no proper name, or one that is there twice",
                rule.name
            ));
        }
        if rule.ports.is_empty() || rule.ports.len() > 15 {
            return Err(format!(
                "the firewall rule `{}` has no ports, or more than 15 ranges",
                rule.name
            ));
        }
        if rule
            .ports
            .iter()
            .any(|range| range.first == 0 || range.first > range.last)
        {
            return Err(format!(
                "the firewall rule `{}` has a range of ports that is none",
                rule.name
            ));
        }
        if rule.remotes.len() > 1000 || rule.remotes.iter().any(|remote| !is_network(remote)) {
            return Err(format!(
                "the firewall rule `{}` has a remote that is not a network",
                rule.name
            ));
        }
        let printable = !rule.comment.chars().any(char::is_control);
        if rule.comment.len() > 100 || !printable {
            return Err(format!(
                "the comment of the firewall rule `{}` is too long or not printable",
                rule.name
            ));
        }
    }
    Ok(())
}

fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most))
}

fn paths(what: &str, list: &[String]) -> Check {
    if list.len() > LIST_MOST {
        return Err(format!("`{what}` has more than {LIST_MOST} entries"));
    }
    list.iter().try_for_each(|entry| path(what, entry))
}

/// Relative, of plain characters, without `.` and `..`.
fn path(what: &str, text: &str) -> Check {
    let plain_byte = |b: u8| b.is_ascii_alphanumeric() || b"._+-@".contains(&b);
    let plain_part = |part: &str| {
        let fits = (1..=PART_MOST).contains(&part.len());
        fits && part != "." && part != ".." && part.bytes().all(plain_byte)
    };
    let fits = text.len() <= PATH_MOST && text.split('/').count() <= 16;
    if !fits || !text.split('/').all(plain_part) {
        let shown: String = text
            .chars()
            .take(80)
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        return Err(format!(
            "`{what}` has the path `{shown}`, which is not a plain relative one"
        ));
    }
    Ok(())
}

fn chunks(chunks: &[ChunkEntry]) -> Check {
    if chunks.len() > CHUNKS_MOST {
        return Err(format!("more than {CHUNKS_MOST} chunks"));
    }
    let mut seen = BTreeSet::new();
    for chunk in chunks {
        if chunk.size == 0 || usize::try_from(chunk.size).is_ok_and(|size| size > CHUNK_MOST) {
            return Err(format!("chunk {} has {} bytes", chunk.digest, chunk.size));
        }
        if !seen.insert(chunk.digest) {
            return Err(format!("chunk {} is listed twice", chunk.digest));
        }
    }
    Ok(())
}

fn files(manifest: &Manifest) -> Check {
    if manifest.files.is_empty() || manifest.files.len() > FILES_MOST {
        return Err(format!("no files, or more than {FILES_MOST}"));
    }
    let mut total = 0_u64;
    let mut used = vec![false; manifest.chunks.len()];
    let mut next_new = 0;
    let mut before: Option<&str> = None;
    let mut directories = BTreeSet::new();
    for file in &manifest.files {
        path("files", &file.path)?;
        if before.is_some_and(|before| before >= file.path.as_str()) {
            return Err(format!("`{}` is there twice or out of order", file.path));
        }
        before = Some(&file.path);
        for (place, _) in file.path.match_indices('/') {
            directories.insert(&file.path[..place]);
        }
        if file.mode != 0o644 && file.mode != 0o755 {
            return Err(format!(
                "`{}` has mode {:o}; only 644 and 755 are possible",
                file.path, file.mode
            ));
        }
        let mut size = 0_u64;
        for index in &file.chunks {
            let place = usize::try_from(*index).unwrap_or(usize::MAX);
            let chunk = manifest
                .chunks
                .get(place)
                .ok_or_else(|| format!("`{}` has a chunk that is not listed", file.path))?;
            if !used[place] {
                if place != next_new {
                    return Err("the chunks are not in the order in which they are needed".to_owned());
                }
                next_new += 1;
                used[place] = true;
            }
            size += u64::from(chunk.size);
        }
        if size != file.size {
            return Err(format!(
                "`{}` has {} bytes, its chunks have {size}",
                file.path, file.size
            ));
        }
        total = total
            .checked_add(size)
            .filter(|total| *total <= PAYLOAD_MOST)
            .ok_or("the payload is too large")?;
    }
    if next_new != manifest.chunks.len() {
        return Err("a chunk is listed that no file needs".to_owned());
    }
    let clash = manifest
        .files
        .iter()
        .find(|file| directories.contains(file.path.as_str()));
    clash.map_or(Ok(()), |file| {
        Err(format!("`{}` is a file and a directory", file.path))
    })
}
