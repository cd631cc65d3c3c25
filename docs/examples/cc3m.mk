# A list of captions and URLs as Conceptual Captions publishes it:  make -f cc3m.mk [-n] [-j2] TSV=... CLIP=... VOCAB=...
#
# Lines of $(TSV): caption, tab, URL; no header. A good share of such links is dead: each of those becomes a row with its
# cause, `vicha extract` ends with status 3, and the build goes on.
#
# One workspace a shard of the list (N of them; PARTS = 0 1 2 ...): each can be made on a machine of its own.
TSV ?= datasets/Train_GCC-training.tsv
CLIP ?= models/clip-vit-base-patch16
VOCAB ?= models/bert-base-uncased/vocab.txt
N ?= 4
PARTS ?= 0 1 2 3
VICHA_MK ?= vicha.mk

all: $(PARTS:%=cc3m-%/.indexed)
.PHONY: all

EXTRACT_FLAGS ?= --caption-col 0 --url-col 1 --connections 128 --timeout 15 --dedup exact
CONCEPTS_FLAGS ?= --min-count 4

define part
cc3m-$(1).source = $(TSV)
cc3m-$(1).extract = --shard $(1)/$(N)
endef
$(foreach p,$(PARTS),$(eval $(call part,$(p))))

include $(VICHA_MK)
