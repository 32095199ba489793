//! `wardlink token`: makes tokens for terminals, and the secret that signs them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use wardlink_identity::{
    Algorithm, ClaimNames, Grant, KEY_FILE_MAX_BYTES, SEND_FOR_MAX, SendFor, Signer,
    TOKEN_MAX_BYTES, new_secret,
};
use wardlink_service::settings::{BadSetting, parse_positive_duration};
use wardlink_wire::EndId;

use crate::exit::{self, Exit};
use crate::input::unreadable;
use crate::show::{DIM, styled};

const EXAMPLES: &str = "\
Examples:
  wardlink token --new-key ward.key
  wardlink token --key ward.key H1-W2-tablet > tablet.jwt
  wardlink token --key issuer.pem --kid 2024-1 --issuer https://id.ward --audience wardlink \\
      --ttl 12h --send-for 'H1-W2-*' H1-W2-gateway

A server that is started with `--jwt-keys ward.key` takes these tokens; one that has public keys,
those of the private key. The token is all that goes to stdout. Whoever has it is that end until
it expires, so keep it and the key to yourself.";

/// Make a token that shows which end a terminal is
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Args {
    /// Whose token: hospitalCode-hosareaCode-uid
    #[arg(value_name = "END", required_unless_present = "new_key")]
    pub(crate) end: Option<EndId>,

    /// File with the key that signs: a private key in PEM, a secret, or a JWKS with a secret
    #[arg(long, env = "WARDLINK_KEY", value_name = "FILE", required_unless_present = "new_key")]
    pub(crate) key: Option<PathBuf>,

    /// Write a fresh secret into a new file that only this user may read, and end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["end", "kid", "alg", "issuer"])]
    #[arg(conflicts_with_all = ["audience", "send_for"])]
    pub(crate) new_key: Option<PathBuf>,

    /// Name of the key, where the servers have several
    #[arg(long, value_name = "KID")]
    pub(crate) kid: Option<String>,

    /// Algorithm that the key must be for: HS256, RS256, ES256 or EdDSA [default: that of the key]
    #[arg(long, value_name = "ALG")]
    pub(crate) alg: Option<Algorithm>,

    /// Issuer to name (claim iss)
    #[arg(long, value_name = "TEXT")]
    pub(crate) issuer: Option<String>,

    /// Audiences to name (claim aud)
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    pub(crate) audience: Vec<String>,

    /// How long the token counts
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    #[arg(default_value = "1h")]
    pub(crate) ttl: Duration,

    /// For whom else its holder may send over HTTP: ends, H1-W2-*, H1-* or * (claim sendFor)
    #[arg(long, value_name = "ENDS", value_delimiter = ',')]
    pub(crate) send_for: Vec<SendFor>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    if let Some(path) = &args.new_key {
        return make_key(path);
    }
    let (Some(end), Some(key)) = (&args.end, &args.key) else {
        // The definition of the arguments demands them.
        return Err(BadSetting::new("--key", "expected a key and an end").into());
    };
    let signer = signer(&args, key)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let token = signer.sign(&grant(&args, end.clone())?, &ClaimNames::default(), now)?;
    if token.len() > TOKEN_MAX_BYTES {
        anyhow::bail!("token has {} bytes; servers take {TOKEN_MAX_BYTES}", token.len());
    }
    writeln!(io::stdout(), "{token}")?;
    Ok(Exit::Done)
}

fn signer(args: &Args, path: &Path) -> Result<Signer, BadSetting> {
    let bytes = read(path).map_err(|error| unreadable("--key", path, &error))?;
    let signer = Signer::from_file(&bytes, args.kid.as_deref())
        .map_err(|error| BadSetting::new("--key", format!("{}: {error}", path.display())))?;
    match args.alg {
        Some(alg) if alg != signer.algorithm() => {
            Err(BadSetting::new("--alg", format!("the key is for {}", signer.algorithm())))
        }
        _ => Ok(signer),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than may be, so that the reader of keys refuses it.
    File::open(path)?.take(KEY_FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn grant(args: &Args, end: EndId) -> Result<Grant, BadSetting> {
    if args.ttl.as_secs() == 0 {
        return Err(BadSetting::new("--ttl", "expected at least 1s"));
    }
    if args.send_for.len() > SEND_FOR_MAX {
        return Err(BadSetting::new("--send-for", format!("expected at most {SEND_FOR_MAX}")));
    }
    Ok(Grant {
        end,
        ttl: args.ttl,
        issuer: args.issuer.clone(),
        audiences: args.audience.clone(),
        send_for: args.send_for.clone(),
    })
}

fn make_key(path: &Path) -> anyhow::Result<Exit> {
    match write_key(path, &new_secret(rand::random())) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let problem = format!("{} exists; a key is never overwritten", path.display());
            return Err(BadSetting::new("--new-key", problem).into());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    let path = path.display();
    anstream::eprintln!(
        "{path} is written. {}",
        styled(DIM, format_args!("Servers take it by --jwt-keys, wardlink token by --key."))
    );
    Ok(Exit::Done)
}

/// Writes a file that is new and, where the system knows users, only this one's.
fn write_key(path: &Path, secret: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // A half key is worse than none; that it cannot be removed either changes nothing.
        let _ = std::fs::remove_file(path);
    }
    written
}
