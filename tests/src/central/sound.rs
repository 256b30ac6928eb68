//! Sound like speech over a telephone: syllables of harmonics, pauses, and the hiss of the line.

/// Samples a second.
const RATE: u64 = 8_000;

/// A voice, drawn from a number.
#[derive(Debug)]
pub(super) struct Speech {
    state: u64,
    sine: [i32; 256],
}

impl Speech {
    pub(super) fn new(seed: u64) -> Self {
        let sine = std::array::from_fn(|step| parabola(i32::try_from(step).unwrap_or(0)));
        Self {
            state: seed | 1,
            sine,
        }
    }

    /// A WAV file (8 kHz, 16 bit, mono) of about `seconds`, at most of about `limit` bytes.
    pub(super) fn wav(mut self, seconds: u64, limit: u64) -> Vec<u8> {
        let samples = (seconds * RATE).min(limit / 2).max(RATE / 10);
        let data = samples * 2;
        let mut wav = Vec::with_capacity(usize::try_from(data).unwrap_or(0) + 44);
        let word = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        wav.extend_from_slice(b"RIFF");
        wav.extend_from_slice(&word(data + 36));
        wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend_from_slice(&word(RATE));
        wav.extend_from_slice(&word(RATE * 2));
        wav.extend_from_slice(b"\x02\0\x10\0data");
        wav.extend_from_slice(&word(data));
        let mut left = samples;
        while left > 0 {
            left -= self.syllable(left, &mut wav);
        }
        wav
    }

    /// One syllable or one pause; answers its length in samples.
    fn syllable(&mut self, at_most: u64, wav: &mut Vec<u8>) -> u64 {
        let length = self.between(RATE / 12, RATE / 3).min(at_most);
        let pause = self.between(0, 100) < 64;
        let loudness = if pause {
            0
        } else {
            i32::try_from(self.between(300, 1400)).unwrap_or(0)
        };
        let pitch = self.between(85, 220) * 65_536 * 256 / RATE / 256;
        let mut phase = 0_u64;
        for at in 0..length {
            phase = phase.wrapping_add(pitch);
            let step = |harmonic: u64| usize::try_from(phase * harmonic / 256 % 256).unwrap_or(0);
            let tone = self.sine[step(1)] * 4 + self.sine[step(3)] * 3 + self.sine[step(7)] * 2;
            let swell = i32::try_from((at * 8 / length).min(8 - at * 8 / length)).unwrap_or(0);
            let hiss = i32::try_from(self.next() >> 60).unwrap_or(0) - 8;
            let sample = tone * swell / 4 * loudness / 1024 / 4 + hiss;
            wav.extend_from_slice(&i16::try_from(sample).unwrap_or(0).to_le_bytes());
        }
        length
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// xorshift64*: quick, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// A sine's shape of 256 steps and height 1024, from two parabolas.
fn parabola(step: i32) -> i32 {
    let half = step % 128;
    let height = half * (128 - half) / 4;
    if step < 128 { height } else { -height }
}
