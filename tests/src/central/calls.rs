//! Call data records (many small JSON files), voicemails and announcements (sound).

use rand::Rng as _;

use super::Maker;
use super::sound::Speech;

const CAUSES: [&str; 5] = ["answered", "busy", "no-answer", "voicemail", "forwarded"];

/// Makes about `bytes` of call data records: a file a call, a directory a day.
pub(super) fn details(maker: &mut Maker<'_>, bytes: u64) -> anyhow::Result<()> {
    let start = maker.done;
    let mut call = 0_u64;
    while maker.done - start < bytes {
        let second = call * 47 + maker.rng.random_range(0..40);
        let text = record(maker, call, second);
        let day = second / 86_400;
        let path = format!(
            "cdr-voicemail/cdr/2026-{:03}/{:02}/{call:09}.json",
            day + 4,
            second / 3600 % 24
        );
        maker.file(&path, text.as_bytes(), second)?;
        call += 1;
    }
    Ok(())
}

fn record(maker: &mut Maker<'_>, call: u64, second: u64) -> String {
    let legs: Vec<String> = (0..maker.rng.random_range(1..9))
        .map(|leg| {
            let (from, to) = (maker.rng.random_range(100..999), maker.rng.random_range(100..999));
            let (ring, talk) = (maker.rng.random_range(1..40), maker.rng.random_range(0..1800));
            format!(
                "    {{\"leg\": {leg}, \"channel\": \"{:016x}\", \"from\": \"{from}\", \"to\": \"{to}\", \
                 \"ring_seconds\": {ring}, \"talk_seconds\": {talk}, \"codec\": \"G722\", \"jitter_us\": {}, \
                 \"cause\": \"{}\"}}",
                maker.rng.random::<u64>(),
                maker.rng.random_range(10..40_000),
                maker.pick(&CAUSES),
            )
        })
        .collect();
    format!(
        "{{\n  \"call\": {call},\n  \"id\": \"{:032x}\",\n  \"start\": {},\n  \"trunk\": \"sip-{}\",\n  \
         \"number\": \"+4144{:07}\",\n  \"legs\": [\n{}\n  ]\n}}\n",
        maker.rng.random::<u128>(),
        super::EPOCH_SECONDS + second,
        maker.rng.random_range(1..4),
        maker.rng.random_range(0..9_999_999),
        legs.join(",\n"),
    )
}

/// Makes about `bytes` of voicemail: a sound and a note about it for each message.
pub(super) fn voicemail(maker: &mut Maker<'_>, bytes: u64) -> anyhow::Result<()> {
    let start = maker.done;
    let mut message = 0_u64;
    while maker.done - start < bytes {
        let left = bytes - (maker.done - start);
        let mailbox = maker.rng.random_range(100..220);
        let seconds = maker.rng.random_range(4..90);
        let wav = Speech::new(maker.rng.random()).wav(seconds, left);
        let path = format!("cdr-voicemail/voicemail/{mailbox}/INBOX/msg{message:06}");
        maker.file(&format!("{path}.wav"), &wav, message * 611)?;
        let note = format!("[message]\norigmailbox={mailbox}\nduration={seconds}\ncallerid=\"0{message}\"\n");
        maker.file(&format!("{path}.txt"), note.as_bytes(), message * 611)?;
        message += 1;
    }
    Ok(())
}

/// Makes about `bytes` of announcements: fewer and longer sounds.
pub(super) fn announcements(maker: &mut Maker<'_>, bytes: u64) -> anyhow::Result<()> {
    let start = maker.done;
    let mut number = 0_u64;
    while maker.done - start < bytes {
        let left = bytes - (maker.done - start);
        let seconds = maker.rng.random_range(60..400);
        let wav = Speech::new(maker.rng.random()).wav(seconds, left);
        let language = ["de", "en", "fr", "it"][usize::try_from(number % 4)?];
        maker.file(
            &format!("announcements/{language}/announcement-{number:04}.wav"),
            &wav,
            number * 86_000,
        )?;
        number += 1;
    }
    Ok(())
}
