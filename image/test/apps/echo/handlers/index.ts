/** Handlers of the smallest app. */
import { twice } from './twice.ts';

export const handlers: Readonly<Record<string, (request: { text: string }) => Promise<{ text: string }>>> = {
  'echo.v1.Echo/Say': async ({ text }) => ({ text: twice(text) }),
};
