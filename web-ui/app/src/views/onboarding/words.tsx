// The second step: the recovery words, shown only now.

import { t } from "../../i18n";
import { Button } from "../../ui/button";
import { Icon } from "../../ui/icon";
import { Step } from "./step";

export function Words({ words, onNext }: { words: string[]; onNext: () => void }) {
  return (
    <Step n={2} title={t.onboarding.words} lead={t.onboarding.wordsBody} wide>
      <ol aria-label={t.onboarding.wordsList} className="grid grid-cols-2 gap-x-4 gap-y-2 wide:grid-cols-4">
        {words.map((word, index) => (
          <li key={`${index}-${word}`} className="flex items-baseline gap-2 rounded-lg border border-line px-3 py-2">
            <span className="w-5 shrink-0 text-right text-xs text-soft tabular-nums">{index + 1}</span>
            <span data-word translate="no" className="font-mono text-sm">
              {word}
            </span>
          </li>
        ))}
      </ol>
      <p className="flex items-start gap-2 text-sm">
        <Icon name="alert" size={16} className="mt-0.5 shrink-0 text-warn" />
        <span>{t.onboarding.wordsWarning}</span>
      </p>
      <Button look="primary" onPress={onNext}>
        {t.onboarding.wrote}
      </Button>
    </Step>
  );
}
