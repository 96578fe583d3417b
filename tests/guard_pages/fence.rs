//! An allocator that puts inaccessible pages before and after every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int;
}

const PROT_NONE: c_int = 0;
const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_PRIVATE: c_int = 2;
const MAP_FIXED: c_int = 0x10;
const MAP_ANONYMOUS: c_int = 0x20;
const MAP_NORESERVE: c_int = 0x4000;

/// A multiple of the page size of every machine.
const PAGE: usize = 1 << 16;
/// Addresses, not memory. Each is used only once, so that freed memory stays fenced off.
const REGION: usize = 1 << 42;

/// The side of an allocation that touches the fence.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    Before = 1,
    Behind = 2,
}

/// Fences off what is allocated within [`fenced`]. Everything else goes to the system's allocator.
pub struct Fenced;

/// The `Side`, or 0 without a fence.
static SIDE: AtomicUsize = AtomicUsize::new(0);
/// Bytes of the region given out so far.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Runs `run` and fences off everything that it allocates, on any thread.
pub fn fenced(side: Side, run: impl FnOnce()) {
    SIDE.store(side as usize, Ordering::SeqCst);
    run();
    SIDE.store(0, Ordering::SeqCst);
}

/// The first address of the region, all of which starts as a fence.
fn region() -> usize {
    static START: OnceLock<usize> = OnceLock::new();
    *START.get_or_init(|| {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the system chooses touches nothing that exists.
        let start = unsafe { mmap(std::ptr::null_mut(), REGION, PROT_NONE, flags, -1, 0) } as usize;
        assert_ne!(start, usize::MAX, "the system has no addresses left");
        start.next_multiple_of(PAGE)
    })
}

fn pages(layout: Layout) -> usize {
    layout.size().div_ceil(PAGE) * PAGE
}

// SAFETY: fenced memory is given out once. It is `pages` long, follows an inaccessible page, and has the requested size
// and alignment. Everything else goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Fenced {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let side = SIDE.load(Ordering::SeqCst);
        if side == 0 || layout.align() > PAGE {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let length = pages(layout);
        let used = USED.fetch_add(length + PAGE, Ordering::SeqCst);
        let start = region() + used + PAGE;
        // SAFETY: these pages are in the region and belong to nobody else.
        if used + length + 3 * PAGE > REGION || unsafe { mprotect(start as *mut c_void, length, PROT_READ_WRITE) } != 0
        {
            return std::ptr::null_mut();
        }
        let gap = if side == Side::Behind as usize { (length - layout.size()) & !(layout.align() - 1) } else { 0 };
        (start + gap) as *mut u8
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !(region()..region() + REGION).contains(&(pointer as usize)) {
            // SAFETY: the caller's promise; it is not in the region.
            return unsafe { System.dealloc(pointer, layout) };
        }
        let start = (pointer as usize & !(PAGE - 1)) as *mut c_void;
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
        // SAFETY: these are the pages that `alloc` gave out: it left less than a page free before the pointer. A new
        // mapping gives their memory back.
        if unsafe { mmap(start, pages(layout), PROT_NONE, flags, -1, 0) } != start {
            std::process::abort();
        }
    }
}
