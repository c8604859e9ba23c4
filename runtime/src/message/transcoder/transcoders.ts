/** The transcoders of all message types that the methods of a policy have. */

import type { DescMessage, Registry } from '@bufbuild/protobuf';
import { type Category, survey } from '@enclaim/policy-schema/admission';
import { CategoryBits, KeptLabels, MAX_CATEGORIES } from './category-bits.ts';
import { ShapeCompiler } from './shape.ts';
import { Transcoder } from './transcoder.ts';

/** A compiler, and the categories that its shapes can tell apart. */
interface Unit {
  readonly bits: CategoryBits;
  readonly compiler: ShapeCompiler;
}

/** Compiles message types, and what they nest once for all. */
export class Transcoders {
  readonly #registry: Registry;
  /** For all types, unless they have too many categories between them. */
  readonly #shared: Unit | undefined;

  /** @param types the types that transcoders will be made of */
  constructor(types: Iterable<DescMessage>, registry: Registry) {
    this.#registry = registry;
    this.#shared = this.#unitFor(types);
  }

  /**
   * The transcoder of a type.
   *
   * @param always categories that every label has
   * @returns undefined if the reference reads and writes all its messages
   */
  of(type: DescMessage, always: Iterable<Category> = []): Transcoder | undefined {
    // The reference refuses a message with a field that has no category.
    if (survey(type).bare.length > 0) return undefined;
    const unit = this.#shared ?? this.#unitFor([type]);
    const shape = unit?.compiler.shapeOf(type);
    return unit && shape && new Transcoder(type, shape, new KeptLabels(unit.bits, always));
  }

  #unitFor(types: Iterable<DescMessage>): Unit | undefined {
    const categories = new Set<Category>();
    for (const type of types) for (const category of survey(type).label) categories.add(category);
    if (categories.size > MAX_CATEGORIES) return undefined;
    const bits = new CategoryBits(categories);
    return { bits, compiler: new ShapeCompiler(bits, this.#registry) };
  }
}
