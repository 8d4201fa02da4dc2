// The system calls that the sentry may not make once it is confined, as a BPF program for
// seccomp(2). A list of what is refused: what the runtime needs of others changes with its releases.

/** Processors that the filter is written for. */
export type Processor = "x86_64" | "aarch64";

/** What a filter has to know of the process. */
export interface FilterSettings {
  readonly processor: Processor;
  /** This process, the only one that it may signal. */
  readonly pid: number;
  /** Descriptors that may be read only: the sockets of a capture could send otherwise. */
  readonly readOnly: readonly number[];
}

/** Calls that are refused, with their numbers on x86-64 and aarch64; null where there is none. */
const REFUSED: Readonly<Record<string, readonly [number | null, number | null]>> = {
  // Files: all that is needed is open already.
  open: [2, null],
  creat: [85, null],
  openat: [257, 56],
  openat2: [437, 437],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  memfd_create: [319, 279],
  memfd_secret: [447, 447],
  truncate: [76, 45],
  rename: [82, null],
  renameat: [264, 38],
  renameat2: [316, 276],
  mkdir: [83, null],
  mkdirat: [258, 34],
  rmdir: [84, null],
  mknod: [133, null],
  mknodat: [259, 33],
  link: [86, null],
  linkat: [265, 37],
  symlink: [88, null],
  symlinkat: [266, 36],
  unlink: [87, null],
  unlinkat: [263, 35],
  chmod: [90, null],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  fchmodat2: [452, 452],
  chown: [92, null],
  fchown: [93, 55],
  lchown: [94, null],
  fchownat: [260, 54],
  utime: [132, null],
  utimes: [235, null],
  futimesat: [261, null],
  utimensat: [280, 88],
  setxattr: [188, 5],
  lsetxattr: [189, 6],
  fsetxattr: [190, 7],
  removexattr: [197, 14],
  lremovexattr: [198, 15],
  fremovexattr: [199, 16],
  chdir: [80, 49],
  fchdir: [81, 50],
  chroot: [161, 51],
  pivot_root: [155, 41],
  mount: [165, 40],
  umount2: [166, 39],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  fanotify_init: [300, 262],
  quotactl: [179, 60],
  acct: [163, 89],
  swapon: [167, 224],
  swapoff: [168, 225],
  // The network: no socket but those that are there, and nothing sent through them.
  socket: [41, 198],
  socketpair: [53, 199],
  connect: [42, 203],
  bind: [49, 200],
  listen: [50, 201],
  sendto: [44, 206],
  sendmsg: [46, 211],
  sendmmsg: [307, 269],
  sendfile: [40, 71],
  splice: [275, 76],
  tee: [276, 77],
  vmsplice: [278, 75],
  copy_file_range: [326, 285],
  dup: [32, 23],
  dup2: [33, null],
  dup3: [292, 24],
  // What would pass by this filter.
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  // Programs and other processes.
  fork: [57, null],
  vfork: [58, null],
  execve: [59, 221],
  execveat: [322, 281],
  kill: [62, 129],
  tkill: [200, 130],
  rt_sigqueueinfo: [129, 138],
  rt_tgsigqueueinfo: [297, 240],
  pidfd_open: [434, 434],
  pidfd_getfd: [438, 438],
  pidfd_send_signal: [424, 424],
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  kcmp: [312, 272],
  shmget: [29, 194],
  shmat: [30, 196],
  msgget: [68, 186],
  semget: [64, 190],
  mq_open: [240, 180],
  // Privileges and the system.
  setuid: [105, 146],
  setgid: [106, 144],
  setreuid: [113, 145],
  setregid: [114, 143],
  setresuid: [117, 147],
  setresgid: [119, 149],
  setfsuid: [122, 151],
  setfsgid: [123, 152],
  setgroups: [116, 159],
  capset: [126, 91],
  unshare: [272, 97],
  setns: [308, 268],
  personality: [135, 92],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  adjtimex: [159, 171],
  syslog: [103, 116],
  vhangup: [153, 58],
  modify_ldt: [154, null],
  iopl: [172, null],
  ioperm: [173, null],
};

/** Calls whose arguments decide. */
const CLONE = [56, 220] as const;
/** Its flags lie in memory, where a filter cannot look; libc then takes clone(2). */
const CLONE3 = 435;
const TGKILL = [234, 131] as const;
const FCNTL = [72, 25] as const;
const IOCTL = [16, 29] as const;
/** write, writev, pwrite64, pwritev, pwritev2. */
const WRITES = [[1, 20, 18, 296, 328], [64, 66, 68, 70, 287]] as const;

const CLONE_THREAD = 0x10000;
const F_DUPFD = 0;
const F_DUPFD_CLOEXEC = 1030;
/** Requests that speak for whoever sits at a terminal: TIOCSCTTY, TIOCSTI, TIOCLINUX. */
const TERMINAL_REQUESTS = [0x540e, 0x5412, 0x541c];

const AUDIT_ARCH = { x86_64: 0xc000003e, aarch64: 0xc00000b7 } as const;
/** Bit of the system calls of x86-64's second, 32-bit set. */
const X32_BIT = 0x40000000;
const EPERM = 1;
const ENOSYS = 38;

/** Offsets in struct seccomp_data; arguments are 8 bytes each, their lower halves come first. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_SET = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
const RETURN_ALLOW = 0x7fff0000;
const RETURN_ERRNO = 0x00050000;
const RETURN_KILL_PROCESS = 0x80000000;

/** One instruction, struct sock_filter: code, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number];

const allow: Instruction = [RETURN, 0, 0, RETURN_ALLOW];
const refuse = (errno: number): Instruction => [RETURN, 0, 0, RETURN_ERRNO | errno];
const argument = (index: number): Instruction => [LOAD, 0, 0, FIRST_ARGUMENT + 8 * index];

/** The filter's instructions as the kernel takes them, an array of struct sock_filter. */
export function seccompFilter(settings: FilterSettings): Uint8Array<ArrayBuffer> {
  const { processor, pid, readOnly } = settings;
  const column = processor === "x86_64" ? 0 : 1;
  /** The instructions of one call: looked at only for its number. */
  const only = (number: number, body: readonly Instruction[]): Instruction[] => [
    [JUMP_EQUAL, 0, body.length, number],
    ...body,
  ];
  /** Refuses one of some values of an argument. */
  const unless = (index: number, values: readonly number[]): Instruction[] => [
    argument(index),
    ...values.flatMap((value): Instruction[] => [[JUMP_EQUAL, 0, 1, value], refuse(EPERM)]),
    allow,
  ];
  const refused = Object.values(REFUSED).flatMap((numbers) => numbers[column] ?? []);
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, AUDIT_ARCH[processor]],
    [RETURN, 0, 0, RETURN_KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
    [JUMP_AT_LEAST, 0, 1, X32_BIT],
    refuse(ENOSYS),
    ...WRITES[column].flatMap((number) => only(number, unless(0, readOnly))),
    ...only(CLONE3, [refuse(ENOSYS)]),
    ...only(CLONE[column], [
      argument(0),
      [JUMP_SET, 0, 1, CLONE_THREAD],
      allow,
      refuse(EPERM),
    ]),
    ...only(TGKILL[column], [argument(0), [JUMP_EQUAL, 0, 1, pid], allow, refuse(EPERM)]),
    ...only(FCNTL[column], unless(1, [F_DUPFD, F_DUPFD_CLOEXEC])),
    ...only(IOCTL[column], unless(1, TERMINAL_REQUESTS)),
    ...refused.flatMap((number) => only(number, [refuse(EPERM)])),
    allow,
  ];
  const bytes = new Uint8Array(8 * program.length);
  const view = new DataView(bytes.buffer);
  for (const [index, [code, whenTrue, whenFalse, operand]] of program.entries()) {
    view.setUint16(8 * index, code, true);
    view.setUint8(8 * index + 2, whenTrue);
    view.setUint8(8 * index + 3, whenFalse);
    view.setUint32(8 * index + 4, operand >>> 0, true);
  }
  return bytes;
}
