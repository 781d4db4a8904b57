//! The enable secret: kept as a hash, never as what was typed.

use sha_crypt::{PasswordHash, PasswordHasher, PasswordVerifier, ShaCrypt};

/// The longest secret. Its hash costs time by its length.
pub const MAX_LENGTH: usize = 255;

/// The most rounds that a given hash may ask for, since everyone waits while it is compared.
const MAX_ROUNDS: u32 = 100_000;

/// The SHA-256-crypt hash of a secret (`$5$...`, as in crypt(3)), with a salt of its own.
///
/// # Errors
/// It is too long, or the host gives no random salt; says so.
pub fn hash(secret: &str) -> Result<String, String> {
    if secret.len() > MAX_LENGTH {
        return Err(format!("a secret has at most {MAX_LENGTH} characters"));
    }
    let hashed = ShaCrypt::SHA256.hash_password(secret.as_bytes());
    hashed
        .map(|hash| hash.as_str().into())
        .map_err(|error| format!("the secret cannot be hashed: {error}"))
}

/// Whether the text is a hash that [`matches()`] can compare with.
pub fn is_hash(text: &str) -> bool {
    let rounds = text
        .split('$')
        .find_map(|field| field.strip_prefix("rounds="));
    let bounded = rounds.is_none_or(|n| n.parse::<u32>().is_ok_and(|n| n <= MAX_ROUNDS));
    let known = text.starts_with("$5$") || text.starts_with("$6$");
    known && bounded && PasswordHash::new(text).is_ok()
}

/// Whether this is the secret that was hashed.
pub fn matches(secret: &str, hash: &str) -> bool {
    secret.len() <= MAX_LENGTH
        && ShaCrypt::default()
            .verify_password(secret.as_bytes(), hash)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_its_hash_and_no_other() {
        let hashed = hash("kame ni naru").unwrap();
        assert!(is_hash(&hashed), "{hashed}");
        assert!(matches("kame ni naru", &hashed));
        assert!(!matches("kame ni nar", &hashed));
        assert!(!matches("", &hashed));
        assert_ne!(hash("kame ni naru").unwrap(), hashed, "salted");
    }

    #[test]
    fn what_other_programs_hash_is_understood() {
        // By `openssl passwd -5 -salt saltstring`.
        let hashed = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        assert!(is_hash(hashed) && matches("Hello world!", hashed));
        assert!(!is_hash("$1$saltstring$abc"));
        assert!(!is_hash("cisco"));
        assert!(!is_hash(
            "$5$rounds=999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        ));
    }
}
