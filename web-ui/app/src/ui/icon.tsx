// The app's pictures: strokes on a 20 px grid, drawn with the text's colour.

const drawings = {
  people: "M7 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM1.8 16.5c.3-3 2.4-4.7 5.2-4.7s4.9 1.7 5.2 4.7M13 3.8a2.8 2.8 0 0 1 0 5.4M14.8 12c2 .5 3.2 2 3.4 4.5",
  settings: "M3 6h6m5 0h3M3 14h3m5 0h6M11.5 3.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4ZM8.5 11.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4Z",
  plus: "M10 4v12M4 10h12",
  search: "M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12Zm4.3-1.7L17 17",
  back: "M12 4 6 10l6 6",
  next: "M8 4l6 6-6 6",
  x: "m5 5 10 10M15 5 5 15",
  send: "M3.5 10 3 3.8 17.5 10 3 16.2 3.5 10Zm0 0h6",
  reply: "M8 5 3.5 9.5 8 14M4 9.5h6.5c3.5 0 5.8 1.8 6 6",
  copy: "M7 7h9v9H7zM4 13V4h9",
  info: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm0-7.5V14M10 6.4v.2",
  more: "M4.500 9.300a.7.7 0 1 0 0 1.400.7.7 0 0 0 0-1.400ZM10 9.300a.7.7 0 1 0 0 1.400.7.7 0 0 0 0-1.400ZM15.500 9.300a.7.7 0 1 0 0 1.400.7.7 0 0 0 0-1.400Z",
  key: "M7 12.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7Zm3.500-3.500H17v3.500M14 9v2.500",
  flag: "M5 17.500V3M5 4c3-1.500 6 1.500 10 0v7.500c-4 1.500-7-1.500-10 0",
  check: "m4 10.5 4 4 8-9",
  alert: "M10 3 1.8 17h16.4L10 3Zm0 5.5v4M10 14.6v.2",
  down: "M10 4v12m-5-5 5 5 5-5",
  shield: "M10 2.5 4 4.8v4.7c0 3.8 2.5 6.6 6 8 3.5-1.4 6-4.2 6-8V4.800L10 2.5Z",
  shieldCheck: "M10 2.5 4 4.8v4.7c0 3.8 2.5 6.6 6 8 3.5-1.4 6-4.2 6-8V4.800L10 2.5Zm-2.8 7.3 2 2 3.8-4",
  link: "M8.5 11.500a3 3 0 0 0 4.3 0l2.9-2.900a3 3 0 0 0-4.3-4.300l-1 1M11.5 8.500a3 3 0 0 0-4.3 0l-2.9 2.900a3 3 0 0 0 4.3 4.300l1-1",
  group: "M10 9a2.8 2.8 0 1 0 0-5.600A2.8 2.8 0 0 0 10 9Zm-5.2 7.500c.3-3 2.4-4.7 5.2-4.700s4.9 1.7 5.2 4.700M3.8 10.500a2 2 0 1 1 .6-3.900M16.2 10.500a2 2 0 1 0-.6-3.9",
  lock: "M5 9h10v8H5zM7 9V6.500a3 3 0 0 1 6 0V9",
  leave: "M8 4H4v12h4M12 6.5 15.5 10 12 13.500M15.5 10H7.5",
  trash: "M4 6h12M8 6V4h4v2M6 6l.7 11h6.600L14 6",
  wifiOff: "M3 3l14 14M2.5 8a11 11 0 0 1 3-1.900M8.5 5.100A11 11 0 0 1 17.5 8M5.3 11.300a7 7 0 0 1 2.6-1.500M12 10a7 7 0 0 1 2.7 1.300M8.2 14.200a2.8 2.8 0 0 1 3.6 0M10 16.700v.1",
  chat: "M3.5 4.500h13v9h-7L6 17v-3.500H3.500z",
  clip: "M14.500 9.500 9.300 14.700a3.200 3.200 0 0 1-4.500-4.500l6-6a2.200 2.200 0 0 1 3.100 3.100l-6 6a1.100 1.100 0 0 1-1.600-1.600L11.500 6.500",
  mic: "M10 12.500a2.500 2.500 0 0 0 2.500-2.500V5.500a2.500 2.500 0 0 0-5 0V10a2.500 2.500 0 0 0 2.500 2.500ZM5 9.500a5 5 0 0 0 10 0M10 14.500V17",
  play: "M6.500 4.500v11l9-5.500-9-5.500Z",
  pause: "M7 4.500v11M13 4.500v11",
  file: "M5 3h6.500L15 6.500V17H5zM11.500 3v3.500H15",
  film: "M3.500 5h13v10h-13zM7 5v10M13 5v10M3.500 8.300H7M3.500 11.700H7M13 8.300h3.500M13 11.700h3.500",
  sound: "M8 15V5l8-2v10M8 15a2 2 0 1 1-4 0 2 2 0 0 1 4 0Zm8-2a2 2 0 1 1-4 0 2 2 0 0 1 4 0Z",
  relay: "M4 3.500h12v5H4zM4 11.500h12v5H4zM7 6h.1M7 14h.1",
} as const;

export type IconName = keyof typeof drawings;

export function Icon({ name, size = 18, className = "" }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      aria-hidden="true"
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.6}
      strokeLinecap="round"
      strokeLinejoin="round"
      className={className}
    >
      <path d={drawings[name]} />
    </svg>
  );
}

/** The mark of Kith. */
export function Logo({ size = 40 }: { size?: number }) {
  return <img src="/favicon.svg" alt="" width={size} height={size} />;
}
