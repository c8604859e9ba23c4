/** Classes of methods that may share workers, and what keeps two methods apart. */

export {
  MAX_WORKER_CLASSES,
  type Obstacle,
  obstacle,
  type RuledMethod,
  workerClasses,
} from './match/worker-class.ts';
