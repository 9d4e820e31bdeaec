//! A key that signs in a fraction of the time that others take. To whoever verifies it is one
//! like any other: 2,048 bits, 65537, RS256.
//!
//! A modulus may be the product of any number of primes. What a signature costs grows with the
//! cube of their size, and who verifies sees their product only. Here there are thirty-two of
//! them, the largest of 64 bits: anybody could take the product apart, so this is a key for
//! millions of tokens in a test, and for nothing else.

#![allow(clippy::cast_possible_truncation, reason = "the lower half is what is meant")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const EXPONENT: u64 = 65_537;
const PRIMES: usize = 32;
/// Of a modulus, in words of 64 bits: the least significant comes first.
const WORDS: usize = 32;
const BYTES: usize = WORDS * 8;
/// What RFC 8017, section 9.2, puts before a hash of SHA-256.
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// The key.
pub(super) struct CheapKey {
    primes: Vec<Prime>,
    modulus: [u64; WORDS],
}

/// One of its primes, and what is the same in every signature.
struct Prime {
    below: Below,
    /// The private exponent, for this prime.
    exponent: u64,
    /// What is padded, with a hash of nothing but zeros.
    padding: u64,
    /// The product of all others.
    others: [u64; WORDS],
    /// Its inverse.
    inverse: u64,
}

/// Numbers below 2^64 less a little: those are reduced by two multiplications.
#[derive(Clone, Copy)]
struct Below {
    little: u64,
}

impl Below {
    fn number(self) -> u64 {
        self.little.wrapping_neg()
    }

    fn reduce(self, number: u128) -> u64 {
        // 2^64 is a little more than a multiple.
        let fold = |number: u128| {
            let (upper, lower) = ((number >> 64) as u64, number as u64);
            u128::from(upper) * u128::from(self.little) + u128::from(lower)
        };
        let number = fold(fold(number));
        let most = u128::from(self.number());
        (if number >= most { number - most } else { number }) as u64
    }

    fn times(self, one: u64, other: u64) -> u64 {
        self.reduce(u128::from(one) * u128::from(other))
    }

    fn power(self, base: u64, mut exponent: u64) -> u64 {
        let (mut result, mut square) = (1, base);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.times(result, square);
            }
            square = self.times(square, square);
            exponent >>= 1;
        }
        result
    }

    /// What is left of these words, of which the most significant comes first.
    fn rest(self, words: impl Iterator<Item = u64>) -> u64 {
        words.fold(0, |rest, word| self.reduce((u128::from(rest) << 64) | u128::from(word)))
    }

    /// By Miller and Rabin: these bases leave no doubt about numbers of 64 bits.
    fn is_prime(self) -> bool {
        let less = self.number() - 1;
        let twos = less.trailing_zeros();
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].iter().all(|base| {
            let mut power = self.power(*base, less >> twos);
            if power == 1 || power == less {
                return true;
            }
            (1..twos).any(|_| {
                power = self.times(power, power);
                power == less
            })
        })
    }
}

impl CheapKey {
    /// Always the same one.
    pub(super) fn new() -> Self {
        let usable =
            |below: &Below| below.is_prime() && !(below.number() - 1).is_multiple_of(EXPONENT);
        let all: Vec<Below> = (1_u64..)
            .step_by(2)
            .map(|little| Below { little })
            .filter(usable)
            .take(PRIMES)
            .collect();
        let modulus = product(all.iter().copied());
        let primes = (0..PRIMES).map(|at| Prime::new(&all, at)).collect();
        Self { primes, modulus }
    }

    /// As a document lists it, under this id.
    pub(super) fn jwk(&self, kid: &str, issuer: &str) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": kid,
            "n": URL_SAFE_NO_PAD.encode(bytes(&self.modulus)),
            "e": URL_SAFE_NO_PAD.encode(&EXPONENT.to_be_bytes()[5..]),
            "issuer": issuer,
        })
    }

    /// The signature by RS256.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let hash = digest(&SHA256, message);
        let hash: Vec<u64> = words(hash.as_ref()).collect();
        // The sum of less than thirty-two moduli.
        let mut sum = [0; WORDS + 1];
        for prime in &self.primes {
            let below = prime.below;
            let hash = below.rest(hash.iter().copied());
            let padded = below.reduce(u128::from(hash) + u128::from(prime.padding));
            let root = below.power(padded, prime.exponent);
            add(&mut sum, &prime.others, below.times(root, prime.inverse));
        }
        while sum[WORDS] > 0 || sum[..WORDS].iter().rev().ge(self.modulus.iter().rev()) {
            subtract(&mut sum, &self.modulus);
        }
        bytes(&sum[..WORDS])
    }
}

impl Prime {
    fn new(all: &[Below], at: usize) -> Self {
        let below = all[at];
        let less = below.number() - 1;
        // `EXPONENT` times this is one more than a multiple of `less`.
        let multiple = (1..EXPONENT)
            .find(|multiple| (1 + multiple * (less % EXPONENT)).is_multiple_of(EXPONENT))
            .expect("the exponent is a prime that doesn't divide it");
        let exponent = (1 + u128::from(multiple) * u128::from(less)) / u128::from(EXPONENT);
        let mut padded = vec![0xff; BYTES];
        padded[..2].copy_from_slice(&[0, 1]);
        let info = BYTES - 32 - DIGEST_INFO.len();
        padded[info - 1] = 0;
        padded[info..BYTES - 32].copy_from_slice(&DIGEST_INFO);
        padded[BYTES - 32..].fill(0);
        let rest = all.iter().enumerate().filter(|(other, _)| *other != at);
        let others = product(rest.map(|(_, other)| *other));
        let inverse = below.power(below.rest(others.iter().rev().copied()), less - 1);
        let padding = below.rest(words(&padded));
        Self { below, exponent: exponent as u64, padding, others, inverse }
    }
}

/// Eight bytes each.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()))
}

/// The most significant byte first.
fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

fn product(factors: impl Iterator<Item = Below>) -> [u64; WORDS] {
    let mut product = [0; WORDS];
    product[0] = 1;
    for factor in factors {
        let mut carry = 0;
        for word in &mut product {
            let wide = u128::from(*word) * u128::from(factor.number()) + carry;
            *word = wide as u64;
            carry = wide >> 64;
        }
    }
    product
}

fn add(sum: &mut [u64; WORDS + 1], number: &[u64; WORDS], factor: u64) {
    let mut carry = 0;
    for (word, other) in sum.iter_mut().zip(number) {
        let wide = u128::from(*other) * u128::from(factor) + u128::from(*word) + carry;
        *word = wide as u64;
        carry = wide >> 64;
    }
    sum[WORDS] += carry as u64;
}

fn subtract(from: &mut [u64; WORDS + 1], number: &[u64; WORDS]) {
    let mut borrow = false;
    for (word, other) in from.iter_mut().zip(number.iter().chain([&0])) {
        let (less, first) = word.overflowing_sub(*other);
        let (less, second) = less.overflowing_sub(u64::from(borrow));
        *word = less;
        borrow = first || second;
    }
}

/// Whoever verifies can't tell it from another key.
#[test]
fn what_it_signs_is_verified() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    let key = CheapKey::new();
    let public = RsaPublicKeyComponents { n: bytes(&key.modulus), e: vec![1, 0, 1] };
    for number in 0..20 {
        let message = format!("message {number}");
        let mut signature = key.sign(message.as_bytes());
        let verified = |signature: &[u8]| {
            public.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), signature).is_ok()
        };
        assert!(verified(&signature), "{message}");
        signature[number] ^= 1;
        assert!(!verified(&signature), "{message}");
    }
}
