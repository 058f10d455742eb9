// The frame of each step of the first run.

import type { ReactNode } from "react";
import { Card } from "../card";

const STEPS = 4;

export function Step({ n, title, lead, wide = false, children }: { n: number; title: string; lead: string; wide?: boolean; children: ReactNode }) {
  return (
    <Card title={title} lead={lead} step={{ n, of: STEPS }} wide={wide}>
      {children}
    </Card>
  );
}
