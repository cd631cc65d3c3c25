# COCO with Karpathy's split:  make -f coco.mk [-n] COCO=... CLIP=... VOCAB=...
#
# $(COCO) holds dataset_coco.json (Karpathy & Fei-Fei, 2015) and the folders train2014/ and val2014/ with the images.
# Every image has its split from that file, so there is a set of records for each:
# coco/records/train, restval, val and test.
COCO ?= datasets/coco
CLIP ?= models/clip-vit-base-patch16
VOCAB ?= models/bert-base-uncased/vocab.txt
VICHA_MK ?= vicha.mk

all: coco/.indexed
.PHONY: all

coco.source = $(COCO)/dataset_coco.json
coco.extract = --root $(COCO) --size 256

include $(VICHA_MK)
