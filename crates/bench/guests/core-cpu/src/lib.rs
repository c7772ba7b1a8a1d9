//! Computes for a few milliseconds and answers a checksum, over `holm:core/1`: hashing, sorting, sieving
//! and a table of strings, so that loops with and without calls, and memory far and near, all have a
//! share. The work is the same in every call.
#![no_std]

mod sha256;

#[link(wasm_import_module = "holm:core/1")]
unsafe extern "C" {
    fn response_write(ptr: *const u8, len: usize) -> i32;
}

const HEAD_BYTES_MAX: usize = 64 * 1024;
const N_HASHED_BYTES: usize = 96 * 1024;
const N_SORTED: usize = 12_000;
const N_SIEVED: usize = 250_000;
const N_BUCKETS: usize = 8_192;
const N_COUNTED: u32 = 40_000;

/// What a call works on. Overwritten by each, so that no call finds what another left.
struct Workspace {
    hashed: [u8; N_HASHED_BYTES],
    sorted: [u32; N_SORTED],
    sieve: [u8; N_SIEVED],
    buckets: [u32; N_BUCKETS],
}

static mut REQUEST_HEAD: [u8; HEAD_BYTES_MAX] = [0; HEAD_BYTES_MAX];
static mut WORKSPACE: Workspace = Workspace {
    hashed: [0; N_HASHED_BYTES],
    sorted: [0; N_SORTED],
    sieve: [0; N_SIEVED],
    buckets: [0; N_BUCKETS],
};

/// Where the host writes the request head; too long a one gets an address outside the memory, which the
/// host reports.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(size: usize) -> *mut u8 {
    if size > HEAD_BYTES_MAX {
        return core::ptr::without_provenance_mut(usize::MAX);
    }
    (&raw mut REQUEST_HEAD).cast()
}

/// Serves one request; 0 is success.
#[unsafe(no_mangle)]
pub extern "C" fn handle(_ptr: *const u8, _len: usize) -> i32 {
    // SAFETY: an instance serves one request at a time on one thread, so this is the only reference.
    let workspace = unsafe { &mut *(&raw mut WORKSPACE) };
    let mut text = [0_u8; 8];
    let mut checksum = compute(workspace);
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(checksum & 15) as usize];
        checksum >>= 4;
    }
    // SAFETY: the range is that of a live array.
    unsafe { response_write(text.as_ptr(), text.len()) }
}

fn compute(workspace: &mut Workspace) -> u32 {
    hash(&mut workspace.hashed)
        ^ sort(&mut workspace.sorted)
        ^ sieve(&mut workspace.sieve)
        ^ count(&mut workspace.buckets)
}

/// Numbers without a pattern (xorshift32, Marsaglia 2003).
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

fn hash(bytes: &mut [u8]) -> u32 {
    let mut numbers = Numbers(0x1234_5678);
    for byte in bytes.iter_mut() {
        *byte = numbers.next() as u8;
    }
    let digest = sha256::digest(bytes);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn sort(values: &mut [u32]) -> u32 {
    let mut numbers = Numbers(0x9e37_79b9);
    for value in values.iter_mut() {
        *value = numbers.next();
    }
    values.sort_unstable();
    values[values.len() / 2]
}

/// The sum of the primes below the sieve's length, wrapping.
fn sieve(is_composite: &mut [u8]) -> u32 {
    is_composite.fill(0);
    let mut sum = 0_u32;
    for candidate in 2..is_composite.len() {
        if is_composite[candidate] != 0 {
            continue;
        }
        sum = sum.wrapping_add(candidate as u32);
        let mut multiple = candidate * candidate;
        while multiple < is_composite.len() {
            is_composite[multiple] = 1;
            multiple += candidate;
        }
    }
    sum
}

/// An open-addressed table: how often each of some thousand words comes.
fn count(buckets: &mut [u32]) -> u32 {
    buckets.fill(0);
    let mut numbers = Numbers(0xdead_beef);
    for _ in 0..N_COUNTED {
        // 1 to 4096 in the upper half, the count in the lower.
        let word = (numbers.next() & 4095) + 1;
        let mut place = (word.wrapping_mul(0x9e37_79b1) >> 19) as usize;
        while buckets[place] != 0 && buckets[place] >> 16 != word {
            place = (place + 1) % N_BUCKETS;
        }
        buckets[place] = (word << 16) | ((buckets[place] & 0xffff) + 1);
    }
    buckets
        .iter()
        .fold(0, |sum, bucket| sum.rotate_left(5) ^ bucket)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
